// Package gateway says what a Gateway becomes in a cluster: the objects that run stock Envoy for it.
//
//	Gateway + ports of its ListenerSets + defaults of the Mesh + parameters (ConfigMaps) + roots + bootstrap
//	        → ServiceAccount, ConfigMap, Deployment, Service, PodDisruptionBudget
//
// It is pure: controllers/proxies.go reads the inputs and applies the objects.
package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// ManagedByLabel and ManagedBy mark every object that Weft makes.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "weft"
)

// NameLabel and NameOfProxies mark the pods of every Gateway.
const (
	NameLabel     = "app.kubernetes.io/name"
	NameOfProxies = "weft-gateway"
)

// Input is all that the objects of one Gateway depend on.
type Input struct {
	Gateway    *gwv1.Gateway
	Defaults   v1alpha1.GatewayDefaults
	SetPorts   []Port       // of the listeners that ListenerSets add to it
	Parameters []Parameters // of the GatewayClass, then of the Gateway; later ones win
	Roots      []byte       // PEM of the authorities that may sign the xDS server's certificate
	Envoy      Envoy
	limits     Limits
}

// Envoy is what its container is given, as internal/envoy makes it.
type Envoy struct {
	Bootstrap   string // of --config-yaml
	Files       []File // SDS files, each in a directory that holds nothing else
	TokenPath   string // where the bound ServiceAccount token is read from
	RootsPath   string // where Roots are read from
	ReadyPath   string
	DrainPath   string
	DrainHeader corev1.HTTPHeader // what a request to DrainPath must carry
}

// File is a file at an absolute path.
type File struct{ Path, Content string }

// Name is the name of every object of a Gateway, `<gateway>-<class>` as GEP-1762 asks. Where that is
// no valid name of a Service, it is shortened or altered and ends in a hash of both.
func Name(g *gwv1.Gateway) string {
	name := g.Name + "-" + string(g.Spec.GatewayClassName)
	if len(validation.IsDNS1035Label(name)) == 0 {
		return name
	}
	start := strings.Trim(notLabel.ReplaceAllString(name, "-"), "-")
	if start[0] < 'a' {
		start = "gw-" + start
	}
	return shortened(start, g.Name+"/"+string(g.Spec.GatewayClassName))
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// shortened fits a name into 63 characters, keeping it unique by a hash of the whole.
func shortened(name, whole string) string {
	sum := sha256.Sum256([]byte(whole))
	hash := hex.EncodeToString(sum[:4])
	return strings.TrimRight(name[:min(len(name), 63-1-len(hash))], "-.") + "-" + hash
}

// Selector is the labels that only the pods of this Gateway carry.
func Selector(g *gwv1.Gateway) map[string]string {
	return map[string]string{
		gwv1.GatewayNameLabelKey:      labelValue(g.Name),
		gwv1.GatewayClassNameLabelKey: labelValue(string(g.Spec.GatewayClassName)),
	}
}

func labelValue(name string) string {
	if len(name) <= validation.LabelValueMaxLength {
		return name
	}
	return shortened(name, name)
}

// meta is the metadata of every object: the labels and annotations that the Gateway asks for in
// spec.infrastructure, over which Weft's own labels win.
func meta(g *gwv1.Gateway) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Namespace: g.Namespace,
		Name:      Name(g),
		Labels:    map[string]string{},
		OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(g, schema.GroupVersionKind{Group: gwv1.GroupName, Version: gwv1.GroupVersion.Version, Kind: "Gateway"}),
		},
	}
	if infra := g.Spec.Infrastructure; infra != nil {
		for k, v := range infra.Labels {
			m.Labels[string(k)] = string(v)
		}
		m.Annotations = make(map[string]string, len(infra.Annotations))
		for k, v := range infra.Annotations {
			m.Annotations[string(k)] = string(v)
		}
	}
	maps.Copy(m.Labels, ownLabels(g))
	return m
}

func ownLabels(g *gwv1.Gateway) map[string]string {
	own := Selector(g)
	own[ManagedByLabel] = ManagedBy
	own[NameLabel] = NameOfProxies
	own["app.kubernetes.io/component"] = "proxy"
	return own
}

// Objects are the objects of a Gateway in the order in which they must be applied. A problem names
// what in the parameters cannot be honoured; then there are no objects.
func Objects(in Input) (objects []*unstructured.Unstructured, problem string) {
	if in.limits, problem = LimitsOf(in); problem != "" {
		return nil, problem
	}
	add := func(obj runtime.Object, wrong string) {
		if problem = first(problem, wrong); problem == "" {
			objects = append(objects, plain(obj))
		}
	}
	add(patched(serviceAccount(in.Gateway), "serviceAccount", in.Parameters))
	add(configMap(in), "")
	if ports := servicePorts(in); len(ports) > 0 {
		add(patched(service(in.Gateway, ports), "service", in.Parameters))
	}
	add(patched(deployment(in), "deployment", in.Parameters))
	add(patched(disruptionBudget(in.Gateway), "podDisruptionBudget", in.Parameters))
	if problem != "" {
		return nil, problem
	}
	return objects, ""
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// plain is obj as server-side apply takes it: without status and empty timestamps.
func plain(obj runtime.Object) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		panic(err) // only a type that cannot be JSON, which no Kubernetes type is
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
	return u
}
