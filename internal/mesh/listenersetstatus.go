package mesh

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// ReasonParentNotFound is that of a ListenerSet whose Gateway does not exist, so that nobody knows whose
// it is: a status that says otherwise is what its last controller left.
const ReasonParentNotFound gwv1.ListenerSetConditionReason = "ParentNotFound"

// ListenerSetStatus is the status of a ListenerSet; nil when its Gateway is not Weft's.
func (m *Mesh) ListenerSetStatus(q *incr.Query, k string) *gwv1.ListenerSetStatus {
	s := m.sets.Get(q, k)
	if s.ListenerSet == nil {
		return m.orphanStatus(q, k)
	}
	st := &gwv1.ListenerSetStatus{}
	var invalid []Verdict
	for _, l := range s.Listeners {
		n := len(m.takenBy.Get(q, takerKey(s.Gateway, l.ID)))
		st.Listeners = append(st.Listeners, gwv1.ListenerEntryStatus(l.status(s.Generation, int32(n), m.setNack(q, s, l), m.overlapping(q, s.Gateway, l, s.Generation))))
		invalid = append(invalid, l.invalid())
	}
	partly, refused := join(invalid).as(reasonListenersNotValid), first(s.Refused, m.gateways.Get(q, s.Gateway).unaccepted())
	if refused.OK() && !s.attached() {
		refused = partly
	}
	accepted := holds(gwv1.ListenerSetConditionAccepted, s.Generation, refused, gwv1.ListenerSetReasonAccepted, "Weft serves this ListenerSet.")
	if refused.OK() && !partly.OK() {
		accepted.Reason, accepted.Message = partly.Reason, partly.Message
	}
	programmed := refused
	if programmed.Reason == string(gwv1.ListenerSetReasonParentNotAccepted) {
		programmed.Reason = reasonParentNotProgrammed
	}
	st.Conditions = []metav1.Condition{
		accepted,
		holds(gwv1.ListenerSetConditionProgrammed, s.Generation, first(programmed, m.parentPending(q, s.Gateway)), gwv1.ListenerSetReasonProgrammed, "The proxies serve this ListenerSet."),
	}
	return st
}

// unaccepted is what a Gateway's ListenerSets are told while it is not accepted.
func (g gateway) unaccepted() Verdict {
	if g.Problem.OK() {
		return Verdict{}
	}
	return wrong(gwv1.ListenerSetReasonParentNotAccepted, "spec.parentRef: Gateway %s is not accepted: see its conditions", key(g.Namespace, g.Name))
}

// setNack is the nack of a set's listener. What Envoy said is about all of the port: who writes in
// another namespace than the Gateway's is not told more than that.
func (m *Mesh) setNack(q *incr.Query, s listenerSet, l listener) Verdict {
	nack := m.nack(q, s.Gateway, l)
	if namespace, _, _ := strings.Cut(s.Gateway, "/"); !nack.OK() && namespace != s.Namespace {
		nack.Message = "proxies refused the listener and keep the one before: ask who runs Gateway " + s.Gateway
	}
	return nack
}

const (
	reasonListenersNotValid   = gwv1.GatewayConditionReason(gwv1.ListenerSetReasonListenersNotValid)
	reasonParentNotProgrammed = "ParentNotProgrammed"
)

// parentPending is what a Gateway waits for before its proxies serve.
func (m *Mesh) parentPending(q *incr.Query, gateway string) Verdict {
	g := m.gateways.Get(q, gateway)
	_, pending := m.addresses(q, g.Gateway)
	pending = first(pending, m.available(q, g.Gateway)).as(reasonParentNotProgrammed)
	if !pending.OK() {
		pending.Message = "Gateway " + gateway + ": " + pending.Message
	}
	return pending
}

// orphanStatus is that of a ListenerSet whose Gateway is gone.
func (m *Mesh) orphanStatus(q *incr.Query, k string) *gwv1.ListenerSetStatus {
	s, ok := m.ListenerSets.Get(q, k)
	if !ok {
		return nil
	}
	parent := parentGateway(s)
	if _, exists := m.Gateways.Get(q, parent); parent == "" || exists {
		return nil
	}
	missing := wrong(ReasonParentNotFound, "spec.parentRef: Gateway %s does not exist: create it, or name another", parent)
	return &gwv1.ListenerSetStatus{Conditions: []metav1.Condition{
		holds(gwv1.ListenerSetConditionAccepted, s.Generation, missing, gwv1.ListenerSetReasonAccepted, ""),
		holds(gwv1.ListenerSetConditionProgrammed, s.Generation, missing, gwv1.ListenerSetReasonProgrammed, ""),
	}}
}
