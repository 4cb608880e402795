package mesh

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
)

// splitWaits are the reasons of a TrafficSplit's status that time alone may mend.
var splitWaits = []string{split.ReasonServiceNotFound, split.ReasonPortNotFound, split.ReasonGroupNotFound}

// maxSplitPorts is how many ports the status of a TrafficSplit lists.
const maxSplitPorts = 64

// TrafficSplitStatus is the status of a TrafficSplit; nil when it is gone.
func (m *Mesh) TrafficSplitStatus(q *incr.Query, k string) *split.TrafficSplitStatus {
	s, ok := m.TrafficSplits.Get(q, k)
	if !ok {
		return nil
	}
	st := &split.TrafficSplitStatus{ObservedGeneration: s.Generation, Weights: weightsOf(s)}
	bad, refs, acts := m.apexProblem(q, s), []Verdict(nil), ""
	if bad.OK() {
		st.Ports, bad, refs, acts = m.splitPorts(q, s)
	}
	unresolved := join(worstFirst(refs))
	ready := first(bad, unresolved)
	st.Conditions = []metav1.Condition{
		holds(split.ConditionAccepted, s.Generation, bad, split.ConditionAccepted, acts),
		holds(split.ConditionResolvedRefs, s.Generation, unresolved, split.ConditionResolvedRefs, "All that it names is there."),
		holds(split.ConditionReady, s.Generation, ready, split.ConditionAccepted, acts),
	}
	switch {
	case waits(ready):
		st.Conditions = append(st.Conditions, present(v1alpha1.ConditionReconciling, s.Generation, ready))
	case !ready.OK():
		st.Conditions = append(st.Conditions, present(v1alpha1.ConditionStalled, s.Generation, ready))
	}
	slices.SortFunc(st.Conditions, byType)
	return st
}

// maxWeights is how long a line of backends with their weights may be.
const maxWeights = 256

// weightsOf are a TrafficSplit's backends with their weights, for a person to read: as many as fit.
func weightsOf(s *split.TrafficSplit) (out string) {
	for _, b := range s.Spec.Backends {
		next := strings.TrimPrefix(fmt.Sprintf("%s, %s %d", out, b.Service, b.Weight), ", ")
		if len(next) > maxWeights {
			return out
		}
		out = next
	}
	return out
}

// apexProblem is what keeps a TrafficSplit from being about any port.
func (m *Mesh) apexProblem(q *incr.Query, s *split.TrafficSplit) Verdict {
	apex, ok := apexOf(s)
	if !ok {
		return wrong(split.ReasonUnsupported, "spec.service: %q is no Service of namespace %s: a split stays in its namespace", s.Spec.Service, s.Namespace)
	}
	svc, ok := m.Services.Get(q, apex)
	if !ok {
		return wrong(split.ReasonServiceNotFound, "spec.service: Service %s does not exist", apex)
	}
	if is := m.unaddressed(q, apex); is != "" {
		return wrong(split.ReasonUnsupported, "spec.service: Service %s is %s: it has no address of its own by which what is sent to it is known: name a Service with a cluster IP", apex, is)
	}
	for _, port := range svc.Spec.Ports {
		if overTCP(port) {
			return m.quarantined(q, routeKey(TrafficSplit, key(s.Namespace, s.Name)))
		}
	}
	return wrong(split.ReasonUnsupported, "spec.service: Service %s has no port of protocol TCP, and no sidecar sees another", apex)
}

// splitPorts tell of each port of the apex; bad is why a TrafficSplit acts on none of them, acts the same
// of one that does in words.
func (m *Mesh) splitPorts(q *incr.Query, s *split.TrafficSplit) (out []split.TrafficSplitPortStatus, bad Verdict, refs []Verdict, acts string) {
	apex, _ := apexOf(s)
	svc, _ := m.Services.Get(q, apex)
	var on []string
	var not []Verdict
	for _, port := range svc.Spec.Ports {
		if !overTCP(port) {
			continue
		}
		division := m.splitAt.Get(q, portKey(key(s.Namespace, s.Name), port.Port))
		refused := first(division.Bad, m.overridden(q, s, apex, port.Port))
		message := "The split acts on it" + m.exceptions(q, apex, port.Port) + "."
		out = append(out, split.TrafficSplitPortStatus{Port: port.Port, Conditions: []metav1.Condition{
			holds(split.ConditionAccepted, s.Generation, refused, split.ConditionAccepted, message),
			holds(split.ConditionResolvedRefs, s.Generation, division.Refs, split.ConditionResolvedRefs, "All that it names is there."),
		}})
		refs = append(refs, division.Refs)
		if not = append(not, refused); refused.OK() {
			on = append(on, fmt.Sprint(port.Port)+m.exceptions(q, apex, port.Port))
		}
	}
	if len(on) == 0 {
		not = worstFirst(not)
		slices.Reverse(not) // if time may mend one of them, it may mend the split
		return out[:min(len(out), maxSplitPorts)], join(not), refs, ""
	}
	acts = fmt.Sprintf("The split acts on port %s of Service %s.", strings.Join(on, ", "), apex)
	if other := join(not); !other.OK() {
		acts += " On others it does not: " + other.Message
	}
	return out[:min(len(out), maxSplitPorts)], Verdict{}, refs, acts
}

// overridden says what else has a port of a TrafficSplit's apex.
func (m *Mesh) overridden(q *incr.Query, s *split.TrafficSplit, apex string, port int32) Verdict {
	if route := m.routeHolding(q, apex, port); route != "" {
		kind, name, _ := strings.Cut(route, "/")
		return wrong(split.ReasonOverridden, "%s %s has port %d of Service %s, and goes before a TrafficSplit, which takes over when the route goes: remove one of them", kind, name, port, apex)
	}
	mine := routeKey(TrafficSplit, key(s.Namespace, s.Name))
	if holder := m.splitOn.Get(q, portKey(apex, port)); holder != "" && holder != mine {
		_, name, _ := strings.Cut(holder, "/")
		return wrong(split.ReasonOverridden, "TrafficSplit %s has port %d of Service %s, because it is older, or of the same age and the first by name: remove one of them", name, port, apex)
	}
	return Verdict{}
}

// exceptions tell of the namespaces whose own routes a port of a Service has, or are "".
func (m *Mesh) exceptions(q *incr.Query, service string, port int32) string {
	own := append(consumers(q, m.frontedBy, service, port), consumers(q, m.bytesFrontedBy, service, port)...)
	slices.Sort(own)
	if own = slices.Compact(own); len(own) == 0 {
		return ""
	}
	return bounded(" (callers of namespace " + strings.Join(own, ", ") + " have routes of their own)")
}
