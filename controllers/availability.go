package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/consts"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/internal/cluster"
)

// Part is a set of kinds that another project installs and Weft stands on.
type Part struct {
	Name      string
	Version   schema.GroupVersion
	Resources map[string]string // plural → Kind
	Optional  map[string]string // the same of kinds that Weft reads where they are served
	Remedy    string
}

// gatewayVersion is the version of the Gateway API's kinds that Weft reads.
var gatewayVersion = schema.GroupVersion(gwv1.GroupVersion)

// GatewayAPI and CertManager are the parts that Weft needs; ExperimentalGatewayAPI are the kinds that only
// the experimental channel has, and SMI is read where it is.
var (
	GatewayAPI = Part{
		Name:    "Gateway API",
		Version: gatewayVersion,
		Resources: map[string]string{
			"gatewayclasses": "GatewayClass", "gateways": "Gateway", "httproutes": "HTTPRoute",
			"grpcroutes": "GRPCRoute", "referencegrants": "ReferenceGrant",
		},
		Optional: map[string]string{"tlsroutes": "TLSRoute", "tcproutes": "TCPRoute", "udproutes": "UDPRoute", "listenersets": "ListenerSet", "backendtlspolicies": "BackendTLSPolicy"},
		Remedy: "install Gateway API " + consts.BundleVersion + ": kubectl apply --server-side -f " +
			"https://github.com/kubernetes-sigs/gateway-api/releases/download/" + consts.BundleVersion + "/standard-install.yaml",
	}
	ExperimentalGatewayAPI = Part{
		Name:     "Gateway API, experimental kinds",
		Version:  schema.GroupVersion(gwx.GroupVersion),
		Optional: map[string]string{"xbackendtrafficpolicies": "XBackendTrafficPolicy", "xmeshes": "XMesh"},
	}
	// SMI is nothing that Weft needs: each kind is read where it is served.
	SMI = []Part{
		{Name: "SMI", Version: split.GroupVersion, Optional: map[string]string{"trafficsplits": "TrafficSplit"}},
		{Name: "SMI", Version: specs.GroupVersion, Optional: map[string]string{"httproutegroups": "HTTPRouteGroup", "tcproutes": "TCPRoute", "udproutes": "UDPRoute"}},
		{Name: "SMI", Version: access.GroupVersion, Optional: map[string]string{"traffictargets": "TrafficTarget"}},
	}
	CertManager = Part{
		Name:      "cert-manager",
		Version:   cmv1.SchemeGroupVersion,
		Resources: map[string]string{"certificates": "Certificate", "issuers": "Issuer", "clusterissuers": "ClusterIssuer"},
		Remedy:    "install cert-manager: https://cert-manager.io/docs/installation/",
	}
)

// Served is what the API server served at one moment.
type Served struct {
	kinds   map[schema.GroupVersionKind]bool
	bundles map[string]cluster.Bundle // by group
}

// Found is what there is of a Part.
type Found struct {
	Part
	Missing []string // CRDs that are not installed, or do not serve the version; in order
	Bundle  string   // the version of the project that the installed CRDs name; may be empty
}

// Find tells what there is of p.
func (s Served) Find(p Part) Found {
	found := Found{Part: p, Bundle: s.bundles[p.Version.Group].Version}
	for plural, kind := range p.Resources {
		if !s.kinds[p.Version.WithKind(kind)] {
			found.Missing = append(found.Missing, plural+"."+p.Version.Group)
		}
	}
	slices.Sort(found.Missing)
	return found
}

// OK tells whether all of the part is there.
func (f Found) OK() bool { return len(f.Missing) == 0 }

// Message says what is there, or what is missing and the remedy.
func (f Found) Message() string {
	if f.OK() {
		return strings.Join(strings.Fields(f.Name+" "+f.Bundle+" is installed"), " ")
	}
	there := ""
	if f.Bundle != "" {
		there = fmt.Sprintf(" (%s %s is installed)", f.Name, f.Bundle)
	}
	return fmt.Sprintf("no CRD serves %s of %s%s: %s", f.Version.Version, strings.Join(f.Missing, ", "), there, f.Remedy)
}

// crdKind is how the API server names a list of CRDs, of which Weft reads the metadata only.
var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// Availability tells which kinds the API server serves.
type Availability struct {
	Discovery discovery.ServerResourcesInterfaceWithContext
	Client    client.Reader // CRDs' metadata, from the cache
	Versions  []schema.GroupVersion
}

// Look asks the API server. settled is false while a CRD is there whose kind is not served, as
// is so for a moment after it is created.
func (a Availability) Look(ctx context.Context) (served Served, settled bool, err error) {
	served = Served{kinds: map[schema.GroupVersionKind]bool{}, bundles: map[string]cluster.Bundle{}}
	for _, gv := range a.Versions {
		list, err := a.Discovery.ServerResourcesForGroupVersionWithContext(ctx, gv.String())
		if err != nil && !apierrors.IsNotFound(err) {
			return served, false, fmt.Errorf("ask which kinds of %s are served: %w", gv, err)
		}
		if err == nil {
			for _, r := range list.APIResources {
				served.kinds[gv.WithKind(r.Kind)] = true
			}
		}
	}
	settled, err = a.readCRDs(ctx, served)
	return served, settled, err
}

func (a Availability) readCRDs(ctx context.Context, served Served) (settled bool, err error) {
	crds := &metav1.PartialObjectMetadataList{}
	crds.SetGroupVersionKind(crdKind)
	if err := a.Client.List(ctx, crds); err != nil {
		return false, fmt.Errorf("list CRDs: %w", err)
	}
	settled = true
	for _, crd := range crds.Items {
		plural, group, _ := strings.Cut(crd.Name, ".")
		for _, p := range append([]Part{GatewayAPI, ExperimentalGatewayAPI, CertManager}, SMI...) {
			if kind := cmp.Or(p.Resources[plural], p.Optional[plural]); kind != "" && group == p.Version.Group {
				bundle := cluster.Bundle{
					Version: cmp.Or(crd.Annotations[consts.BundleVersionAnnotation], crd.Labels["app.kubernetes.io/version"]),
					Channel: crd.Annotations[consts.ChannelAnnotation],
				}
				if before, is := served.bundles[group]; is && before.Channel != bundle.Channel {
					bundle.Channel = ""
				}
				served.bundles[group] = bundle
				settled = settled && served.kinds[p.Version.WithKind(kind)]
			}
		}
	}
	return settled, nil
}
