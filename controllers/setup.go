// Package controllers joins the core to a cluster.
//
//	API server → informers → feeds → inbox → core → statuses, certificates → API server
//	                                          └──→ xDS server → proxies
//
// Feeds and the xDS server run in every replica; what writes runs in the leader alone.
package controllers

import (
	"errors"
	"fmt"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/api/smi"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/webhooks"
)

// +kubebuilder:rbac:groups="",resources=services;pods;nodes;namespaces;secrets;configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses;gateways;httproutes;grpcroutes;tlsroutes;tcproutes;udproutes;listenersets;referencegrants;backendtlspolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.x-k8s.io,resources=xbackendtrafficpolicies;xmeshes,verbs=get;list;watch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch
// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=split.smi-spec.io,resources=trafficsplits,verbs=get;list;watch
// +kubebuilder:rbac:groups=specs.smi-spec.io,resources=httproutegroups,verbs=get;list;watch
// +kubebuilder:rbac:groups=specs.smi-spec.io,resources=tcproutes;udproutes,verbs=get;list;watch
// +kubebuilder:rbac:groups=access.smi-spec.io,resources=traffictargets,verbs=get;list;watch

// kinds are those that the core reads. A new one is one line, and a table in internal/cluster.
func kinds(in *cluster.Inbox, t *cluster.Tables) []kind {
	return []kind{
		feed(in, t.Services),
		feed(in, t.EndpointSlices),
		feed(in, t.Pods),
		feed(in, t.Nodes),
		feed(in, t.Namespaces),
		feed(in, t.Secrets),
		feed(in, t.ConfigMaps),
		feed(in, t.GatewayClasses),
		feed(in, t.Gateways),
		feed(in, t.HTTPRoutes),
		feed(in, t.GRPCRoutes),
		feed(in, t.TLSRoutes),
		feed(in, t.TCPRoutes),
		feed(in, t.UDPRoutes),
		feed(in, t.ListenerSets),
		feed(in, t.ReferenceGrants),
		feed(in, t.BackendTLSPolicies),
		feed(in, t.XBackendTrafficPolicies),
		feed(in, t.XMeshes),
		feed(in, t.Certificates),
		feed(in, t.Deployments),
		feed(in, t.Meshes),
		feed(in, t.MeshPolicies),
		feed(in, t.TrafficSplits),
		feed(in, t.HTTPRouteGroups),
		feed(in, t.TrafficTargets),
		feed(in, t.SMITCPRoutes),
		feed(in, t.SMIUDPRoutes),
	}
}

// Scheme holds every kind that Weft reads or writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgo.AddToScheme, gwv1.Install, gwx.Install, cmv1.AddToScheme, v1alpha1.AddToScheme, smi.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	return s, nil
}

// Ports are where the operator listens, beside what the manager serves.
type Ports struct {
	XDS            string // address that proxies connect to
	Quota          string // address that proxies ask at about global rate limits; empty or 0 for none
	Webhook        int    // port that the API server connects to
	TrafficMetrics string // address that the API server connects to; empty or 0 for none
}

// CheckRevision tells why a text cannot be the revision of an operator: what that operator has is called
// by it.
func CheckRevision(revision string) error {
	if problems := validation.IsDNS1123Label(revision); revision != "" && (len(problems) > 0 || len(revision) > maxRevision) {
		return fmt.Errorf("revision %q: write at most %d lower-case letters, digits and hyphens, with a letter or digit at both ends", revision, maxRevision)
	}
	return nil
}

// maxRevision leaves room for what stands before it in the names of Services.
const maxRevision = 40

// Setup adds all of the operator to mgr. Image is its own, which the pods in the mesh run too; without
// one, no pod gets into the mesh. An operator with a revision puts the pods of this revision into the mesh
// and serves them; it writes nothing else, and needs one without beside it.
func Setup(mgr ctrl.Manager, at Ports, image, revision string) error {
	server, err := newServer(mgr, at, revision)
	if err != nil {
		return err
	}
	certificate := &KeyPair{Secrets: mgr.GetClient(), Name: systemName(webhooks.Revised(webhookSecret, revision))}
	if err := webhooks.Setup(mgr, at.Webhook, certificate.GetCertificate, injector(mgr.GetClient(), image, revision)); err != nil {
		return err
	}
	if revision == "" {
		statuses := &Statuses{Client: mgr.GetClient(), Cache: mgr.GetCache(), Outbox: server.core.Statuses}
		if err := errors.Join(setupMeshStatus(mgr, server, image), SetupRoots(mgr), SetupKeySets(mgr), SetupModules(mgr), mgr.Add(statuses), setupTrafficMetrics(mgr, at.TrafficMetrics)); err != nil {
			return fmt.Errorf("set up the operator: %w", err)
		}
	}
	fetches := &Fetches{Outbox: server.core.Fetches, Inbox: server.core.Inbox(), Table: server.core.Tables().Fetched}
	if err := mgr.Add(fetches); err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	if err := mgr.AddReadyzCheck("serving", server.ready); err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	return nil
}
