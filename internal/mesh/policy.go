package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// subject is one thing that a MeshPolicy is about.
type subject struct {
	Kind      room.Kind
	Namespace string
	Name      string // of the object; empty for Mesh, Namespace and Pods
	Part      string // the name of a port, listener or rule; empty: the whole object
	Port      int32  // of a Service, instead of Part
	Selector  *metav1.LabelSelector
	Field     string // where it is written
}

func (s subject) part() bool        { return s.Part != "" || s.Port != 0 }
func (s subject) level() room.Level { return room.LevelOf(s.Kind, s.part()) }

// group is what the policies about it are indexed by: a part's are with those of the whole; those of pods with labels
// are by the first of these, so that a change of a policy is one to the pods alone that have that.
func (s subject) group() string {
	if s.Kind == room.Pods {
		return group(s.Kind, s.Namespace, firstLabel(s.Selector))
	}
	return group(s.Kind, s.Namespace, s.Name)
}

// firstLabel is one that all pods have which a selector takes; "": there is none such.
func firstLabel(by *metav1.LabelSelector) string {
	if by == nil || len(by.MatchLabels) == 0 {
		return ""
	}
	name := slices.Min(slices.Collect(maps.Keys(by.MatchLabels)))
	return name + "=" + by.MatchLabels[name]
}

func group(k room.Kind, namespace, name string) string {
	return string(k) + " " + namespace + "/" + name
}

var meshGroup = group(room.Mesh, "", "")

// subjects are what a policy is about.
func subjects(p *v1alpha1.MeshPolicy) []subject {
	if len(p.Spec.TargetRefs) == 0 {
		if p.Namespace == v1alpha1.SystemNamespace {
			return []subject{{Kind: room.Mesh}}
		}
		return []subject{{Kind: room.Namespace, Namespace: p.Namespace}}
	}
	var out []subject
	for i, t := range p.Spec.TargetRefs {
		s := subject{Kind: room.Kind(t.Kind), Namespace: p.Namespace, Name: t.Name, Part: t.SectionName, Port: t.Port, Field: targetField(i)}
		if t.Pods != nil {
			s.Kind, s.Selector = room.Pods, &t.Pods.Selector
		}
		out = append(out, s)
	}
	return out
}

func policyGroups(p *v1alpha1.MeshPolicy) []string {
	var out []string
	for _, s := range subjects(p) {
		if g := s.group(); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// selected is a policy that is about something, and at which level.
type selected struct {
	*v1alpha1.MeshPolicy
	Level room.Level
	on    subject
}

func (s selected) key() string { return key(s.Namespace, s.Name) }

// precedence orders by level, then age, then name.
func precedence(a, b selected) int {
	return cmp.Or(cmp.Compare(a.Level, b.Level), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.key(), b.key()))
}

// about are the policies of the groups whose subjects a function takes, in their precedence.
func (m *Mesh) about(q *incr.Query, groups []string, takes func(subject) bool) []selected {
	var out []selected
	for _, g := range groups {
		for _, k := range m.policiesOn.Get(q, g) {
			p, ok := m.MeshPolicies.Get(q, k)
			if !ok {
				continue
			}
			for _, s := range subjects(p) {
				if s.group() == g && takes(s) {
					out = append(out, selected{p, s.level(), s})
				}
			}
		}
	}
	slices.SortStableFunc(out, precedence)
	return out
}

// selecting are the policies that select a port of a workload, or with port 0 any of it.
func (m *Mesh) selecting(q *incr.Query, w workload, port int32) []selected {
	var groups []string
	for _, k := range anyKind {
		groups = append(groups, w.groups(k)...)
	}
	return m.about(q, groups, func(s subject) bool { return m.selects(q, s, w, port) })
}

// groups are those of the subjects of a kind that may select a workload. No group is of a Gateway or
// a route: those are about requests, not about pods.
func (w workload) groups(k room.Kind) (out []string) {
	switch k {
	case room.Mesh:
		return []string{meshGroup}
	case room.Namespace:
		return []string{group(k, w.Namespace, "")}
	case room.Pods:
		out = []string{group(k, w.Namespace, "")}
		for _, name := range slices.Sorted(maps.Keys(w.Labels)) {
			out = append(out, group(k, w.Namespace, name+"="+w.Labels[name]))
		}
	case room.ServiceAccount:
		return []string{group(k, w.Namespace, w.ServiceAccount)}
	case room.Service:
		for _, s := range w.Services {
			out = append(out, string(k)+" "+s)
		}
	}
	return out
}

// selects says whether a subject from a workload's groups is about one of its ports.
func (m *Mesh) selects(q *incr.Query, s subject, w workload, port int32) bool {
	switch s.Kind {
	case room.Pods:
		return labelled(s.Selector, w.Labels)
	case room.Service:
		return port == 0 || slices.Contains(m.podPorts(q, s, w), port)
	}
	return true
}

// labelled says whether a selector takes some labels: one of labels alone need not be read as Kubernetes does.
func labelled(by *metav1.LabelSelector, has map[string]string) bool {
	if by == nil {
		return false
	}
	for name, value := range by.MatchLabels {
		if got, is := has[name]; !is || got != value {
			return false
		}
	}
	if len(by.MatchExpressions) == 0 {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(by)
	return err == nil && selector.Matches(labels.Set(has))
}

// chosenKey names a port of the pods of a scope.
func chosenKey(scope string, port int32) string { return fmt.Sprintf("%d %s", port, scope) }

// findChosen are the policies that select a port, of a chosenKey: each of them is held against all the others.
func (m *Mesh) findChosen(q *incr.Query, k string) []selected {
	text, scope, _ := strings.Cut(k, " ")
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		panic(err) // chosenKey wrote it
	}
	return m.selecting(q, m.inbounds.Get(q, scope).workload, int32(port))
}

// podPorts are the ports of a workload's pods that a Service, or one port of it, leads to.
func (m *Mesh) podPorts(q *incr.Query, s subject, w workload) (out []int32) {
	svc, ok := m.Services.Get(q, key(s.Namespace, s.Name))
	if !ok {
		return nil
	}
	for _, p := range svc.Spec.Ports {
		if s.part() && !s.names(p) {
			continue
		}
		if port, ok := w.port(p); ok {
			out = append(out, port)
		}
	}
	return out
}

// names says whether a subject is that port of a Service.
func (s subject) names(p corev1.ServicePort) bool {
	if s.Port != 0 {
		return p.Port == s.Port
	}
	return p.Name == s.Part
}

// port is the one of a workload's pods that a Service's port leads to; false if they have none by
// that name: then the Service does not lead to them.
func (w workload) port(p corev1.ServicePort) (int32, bool) {
	switch {
	case p.TargetPort.Type == intstr.String:
		port, ok := w.Ports[p.TargetPort.StrVal]
		return port, ok
	case p.TargetPort.IntVal != 0:
		return p.TargetPort.IntVal, true
	}
	return p.Port, true
}
