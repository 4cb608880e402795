package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Parameters are what a ConfigMap named by a parametersRef asks for. Its keys are serviceAccount,
// service, deployment and podDisruptionBudget, each a strategic merge patch (YAML or JSON) of the
// object of that kind, and runtime, a flat map of Envoy runtime values.
type Parameters struct {
	patches map[string]json.RawMessage
	runtime map[string]any
}

const runtimeKey = "runtime"

var patchKeys = []string{"deployment", "podDisruptionBudget", "service", "serviceAccount"}

// Check tells what is wrong with a ConfigMap named by a parametersRef and how to mend it; nothing
// when Weft can honour all of it.
func Check(cm *corev1.ConfigMap) (problem string) {
	p, problem := ParseParameters(cm)
	if problem != "" {
		return problem
	}
	_, problem = Objects(Input{Gateway: sample, Parameters: []Parameters{p}})
	return problem
}

// sample is a Gateway on which Check tries parameters: whether they are valid does not depend on
// the Gateway that uses them.
var sample = &gwv1.Gateway{
	ObjectMeta: metav1.ObjectMeta{Namespace: "sample", Name: "sample"},
	Spec: gwv1.GatewaySpec{
		GatewayClassName: "weft",
		Listeners:        []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}},
	},
}

// ParseParameters reads a ConfigMap. A problem names the key and the remedy.
func ParseParameters(cm *corev1.ConfigMap) (p Parameters, problem string) {
	p = Parameters{patches: map[string]json.RawMessage{}}
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		switch {
		case key == runtimeKey:
			p.runtime, problem = parseRuntime(cm.Data[key])
		case slices.Contains(patchKeys, key):
			p.patches[key], problem = parsePatch(cm.Data[key])
		default:
			problem = "unknown; use " + strings.Join(patchKeys, ", ") + " or " + runtimeKey
		}
		if problem != "" {
			return Parameters{}, fmt.Sprintf("key %q: %s", key, problem)
		}
	}
	return p, ""
}

func parseRuntime(text string) (values map[string]any, problem string) {
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		return nil, "write one `name: value` per line: " + oneLine(err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch values[name].(type) {
		case string, bool, float64:
		default:
			return nil, name + " must be a string, a number or a boolean"
		}
	}
	return values, ""
}

func parsePatch(text string) (patch json.RawMessage, problem string) {
	var object map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		return nil, "write a YAML object: " + oneLine(err)
	}
	patch, err := json.Marshal(object)
	if err != nil {
		return nil, "write a YAML object: " + oneLine(err)
	}
	return patch, ""
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// patched is obj with the patches of one key laid over it, in order.
func patched[T runtime.Object](obj T, key string, params []Parameters) (_ T, problem string) {
	for _, p := range params {
		patch, ok := p.patches[key]
		if !ok || string(patch) == "null" {
			continue
		}
		next, err := merge(obj, patch)
		if err == nil {
			err = samePins(pins(obj), pins(next))
		}
		if err != nil {
			return obj, fmt.Sprintf("key %q: %s", key, oneLine(err))
		}
		obj = next
	}
	return obj, ""
}

func merge[T runtime.Object](obj T, patch []byte) (T, error) {
	next := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(T)
	original, err := json.Marshal(obj)
	if err != nil {
		return obj, err
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, next)
	if err != nil {
		return obj, err
	}
	unknown, err := kjson.UnmarshalStrict(merged, next)
	return next, errors.Join(append(unknown, err)...)
}

// pins are what a patch must leave as it is: how Weft finds its objects and who the proxy is.
func pins(obj runtime.Object) map[string]any {
	m := obj.(metav1.Object)
	pin := map[string]any{
		"kind":                     obj.GetObjectKind().GroupVersionKind(),
		"metadata.name":            m.GetName(),
		"metadata.namespace":       m.GetNamespace(),
		"metadata.ownerReferences": m.GetOwnerReferences(),
		"metadata.labels":          pinned(m.GetLabels()),
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		pin["spec.selector"] = o.Spec.Selector
		pin["spec.template.metadata.labels"] = pinned(o.Spec.Template.Labels)
		pin["spec.template.spec.serviceAccountName"] = o.Spec.Template.Spec.ServiceAccountName
	case *corev1.Service:
		pin["spec.selector"] = o.Spec.Selector
	}
	return pin
}

func pinned(labels map[string]string) map[string]string {
	found := map[string]string{}
	for _, key := range []string{gwv1.GatewayNameLabelKey, gwv1.GatewayClassNameLabelKey, ManagedByLabel} {
		found[key] = labels[key]
	}
	return found
}

func samePins(before, after map[string]any) error {
	for _, field := range slices.Sorted(maps.Keys(before)) {
		if !reflect.DeepEqual(before[field], after[field]) {
			return fmt.Errorf("%s is Weft's own and cannot be changed; remove it from the patch", field)
		}
	}
	return nil
}

// Runtime are the Envoy runtime values of all params together; later ones win.
func Runtime(params []Parameters) map[string]any {
	values := map[string]any{}
	for _, p := range params {
		maps.Copy(values, p.runtime)
	}
	return values
}

// ParameterRef is what a parametersRef names.
type ParameterRef struct {
	types.NamespacedName
	ConfigMap bool // false: a kind that Weft does not read
}

// ParameterRefs are those of the class and then of the Gateway, where they have one.
func ParameterRefs(g *gwv1.Gateway, class *gwv1.GatewayClass) (refs []ParameterRef) {
	if ref := class.Spec.ParametersRef; ref != nil {
		at := types.NamespacedName{Name: ref.Name}
		if ref.Namespace != nil {
			at.Namespace = string(*ref.Namespace)
		}
		refs = append(refs, ParameterRef{at, isConfigMap(ref.Group, ref.Kind) && at.Namespace != ""})
	}
	if infra := g.Spec.Infrastructure; infra != nil && infra.ParametersRef != nil {
		ref := infra.ParametersRef
		refs = append(refs, ParameterRef{types.NamespacedName{Namespace: g.Namespace, Name: ref.Name}, isConfigMap(ref.Group, ref.Kind)})
	}
	return refs
}

func isConfigMap(group gwv1.Group, kind gwv1.Kind) bool { return group == "" && kind == "ConfigMap" }
