package mesh

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// A pod finds the Services that select it without a look at the others: it knows which labels
// selectors of its namespace name, takes its own values of those, and looks that selector up.

// selection is a Service's selector: "namespace/label=value,label=value", in order.
func selection(_ string, svc *corev1.Service) []string {
	if len(svc.Spec.Selector) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(svc.Spec.Selector))
	whole, _ := selectionOf(svc.Namespace, names, svc.Spec.Selector)
	return []string{whole}
}

// selectorLabels are the names in a Service's selector: "namespace/label,label", in order.
func selectorLabels(_ string, svc *corev1.Service) []string {
	if len(svc.Spec.Selector) == 0 {
		return nil
	}
	return []string{key(svc.Namespace, strings.Join(slices.Sorted(maps.Keys(svc.Spec.Selector)), ","))}
}

// namespaceAlone is the namespace that a key begins with.
func namespaceAlone(_ *incr.Query, k string) []string {
	namespace, _, _ := strings.Cut(k, "/")
	return []string{namespace}
}

// selectionOf is the selector of these names that has the values of some labels; false if one is
// missing.
func selectionOf(namespace string, names []string, labels map[string]string) (string, bool) {
	pairs := make([]string, len(names))
	for i, name := range names {
		value, has := labels[name]
		if !has {
			return "", false
		}
		pairs[i] = name + "=" + value
	}
	return key(namespace, strings.Join(pairs, ",")), true
}

// servicesOf are the Services that select a pod, the oldest first: where two disagree on what a port
// speaks, it has the say.
func (m *Mesh) servicesOf(q *incr.Query, p *corev1.Pod) (out []*corev1.Service) {
	for _, k := range m.labelsBy.Get(q, p.Namespace) {
		_, names, _ := strings.Cut(k, "/")
		selector, has := selectionOf(p.Namespace, strings.Split(names, ","), p.Labels)
		if !has {
			continue
		}
		for _, k := range m.servicesBy.Get(q, selector) {
			if svc, ok := m.Services.Get(q, k); ok {
				out = append(out, svc)
			}
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Time.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return out
}
