package controllers

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
)

var (
	earlier = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	later   = metav1.NewTime(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
)

func condition(kind string, status metav1.ConditionStatus, reason string, generation int64, at metav1.Time) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, ObservedGeneration: generation, LastTransitionTime: at}
}

func TestConditionsKeepTheTimeOfAnUnchangedStatus(t *testing.T) {
	live := []metav1.Condition{
		condition("Accepted", "True", "Accepted", 1, earlier),
		condition("Programmed", "True", "Programmed", 1, earlier),
		condition("Stale", "True", "Gone", 1, earlier),
		condition("example.com/Theirs", "True", "Said", 1, earlier),
		condition("mesh.weft.dev/Old", "True", "Gone", 1, earlier),
	}
	wanted := []metav1.Condition{
		condition("Accepted", "True", "AnotherReason", 2, metav1.Time{}),
		condition("Programmed", "False", "Invalid", 2, metav1.Time{}),
		condition("New", "True", "New", 2, metav1.Time{}),
	}
	got := conditions(live, wanted, later)
	want := []metav1.Condition{
		condition("Accepted", "True", "AnotherReason", 2, earlier),
		condition("Programmed", "False", "Invalid", 2, later),
		condition("New", "True", "New", 2, later),
		condition("example.com/Theirs", "True", "Said", 1, earlier),
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := conditions(got, wanted, metav1.Now()); !equality.Semantic.DeepEqual(again, got) {
		t.Errorf("merged again it differs: %+v", again)
	}
}

func TestConditionsStayWithinTheLimitsOfTheAPIServer(t *testing.T) {
	var live []metav1.Condition
	for _, name := range strings.Fields("a b c d e f g h i j") {
		live = append(live, condition("example.com/"+name, "True", "Said", 1, earlier))
	}
	wanted := condition("Accepted", "True", "Accepted", 1, metav1.Time{})
	wanted.Message = strings.Repeat("é", maxMessage)
	got := conditions(live, []metav1.Condition{wanted}, later)
	if len(got) != maxConditions || got[0].Type != "Accepted" {
		t.Errorf("%d conditions, the first %s", len(got), got[0].Type)
	}
	if n := len(got[0].Message); n > maxMessage || n < maxMessage-4 {
		t.Errorf("message of %d bytes", n)
	}
}

// routeParent has in its reference what the API server puts where nothing is written: what is wanted
// without that is never as wanted, and written for ever.
func routeParent(name string, controller gwv1.GatewayController, c ...metav1.Condition) gwv1.RouteParentStatus {
	ref := gwv1.ParentReference{Group: new(gwv1.Group(gwv1.GroupName)), Kind: new(gwv1.Kind("Gateway")), Name: gwv1.ObjectName(name)}
	return gwv1.RouteParentStatus{ParentRef: ref, ControllerName: controller, Conditions: c}
}

func TestParentsOfOthersStayWhereTheyAre(t *testing.T) {
	const other = gwv1.GatewayController("example.com/other")
	theirs := routeParent("a", other, condition("Accepted", "False", "NotAllowed", 7, earlier))
	live := []gwv1.RouteParentStatus{
		routeParent("gone", mesh.ControllerName, condition("Accepted", "True", "Accepted", 1, earlier)),
		theirs,
		routeParent("a", mesh.ControllerName, condition("Accepted", "True", "Accepted", 1, earlier)),
	}
	wanted := []gwv1.RouteParentStatus{
		routeParent("new", mesh.ControllerName, condition("Accepted", "True", "Accepted", 2, metav1.Time{})),
		routeParent("a", mesh.ControllerName, condition("Accepted", "True", "Accepted", 2, metav1.Time{})),
	}
	got := parents(live, wanted, later)
	want := []gwv1.RouteParentStatus{
		theirs,
		routeParent("a", mesh.ControllerName, condition("Accepted", "True", "Accepted", 2, earlier)),
		routeParent("new", mesh.ControllerName, condition("Accepted", "True", "Accepted", 2, later)),
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := parents(got, wanted, metav1.Now()); !equality.Semantic.DeepEqual(again, got) {
		t.Errorf("merged again it differs: %+v", again)
	}
	if left := parents(got, nil, later); !equality.Semantic.DeepEqual(left, []gwv1.RouteParentStatus{theirs}) {
		t.Errorf("with none wanted, %+v is left", left)
	}
}

func TestParentsAreThoseOfOnePortAndSection(t *testing.T) {
	at := func(port gwv1.PortNumber) gwv1.RouteParentStatus {
		p := routeParent("a", mesh.ControllerName, condition("Accepted", "True", "Accepted", 1, metav1.Time{}))
		p.ParentRef.Port = &port
		return p
	}
	got := parents([]gwv1.RouteParentStatus{at(80)}, []gwv1.RouteParentStatus{at(443)}, later)
	if len(got) != 1 || *got[0].ParentRef.Port != 443 {
		t.Errorf("got %+v", got)
	}
}

func TestParentsNeverExceedWhatTheAPIServerTakes(t *testing.T) {
	var live []gwv1.RouteParentStatus
	for range maxParents {
		live = append(live, routeParent("a", "example.com/other"))
	}
	got := parents(live, []gwv1.RouteParentStatus{routeParent("a", mesh.ControllerName)}, later)
	if !equality.Semantic.DeepEqual(got, live) {
		t.Errorf("%d parents; want those of others", len(got))
	}
}

func TestAncestorsNeverExceedWhatTheAPIServerTakes(t *testing.T) {
	ancestor := func(i int, controller gwv1.GatewayController) gwv1.PolicyAncestorStatus {
		return gwv1.PolicyAncestorStatus{AncestorRef: gwv1.ParentReference{Name: gwv1.ObjectName(strconv.Itoa(i))}, ControllerName: controller}
	}
	var live, wanted gwv1.PolicyStatus
	for i := range mesh.MaxAncestors {
		live.Ancestors = append(live.Ancestors, ancestor(i, "example.com/other"))
		wanted.Ancestors = append(wanted.Ancestors, ancestor(i, mesh.ControllerName))
	}
	if got := policyStatus(live, wanted, later); !equality.Semantic.DeepEqual(got, live) {
		t.Errorf("%d ancestors; want those of others", len(got.Ancestors))
	}
}

func TestStatusDoesNotGoBackToAnOlderGeneration(t *testing.T) {
	live := gwv1.GatewayStatus{Conditions: []metav1.Condition{condition("Accepted", "True", "Accepted", 5, earlier)}}
	wanted := gwv1.GatewayStatus{Conditions: []metav1.Condition{condition("Accepted", "False", "Invalid", 4, metav1.Time{})}}
	if got := gatewayStatus(live, wanted, later); !equality.Semantic.DeepEqual(got, live) {
		t.Errorf("generation 5's status became %+v", got)
	}
}

func TestListenersKeepTheirOwnTimes(t *testing.T) {
	listener := func(name string, c metav1.Condition) gwv1.ListenerStatus {
		return gwv1.ListenerStatus{Name: gwv1.SectionName(name), Conditions: []metav1.Condition{c}}
	}
	live := gwv1.GatewayStatus{Listeners: []gwv1.ListenerStatus{
		listener("b", condition("Programmed", "True", "Programmed", 1, earlier)),
		listener("a", condition("Programmed", "False", "Invalid", 1, earlier)),
	}}
	wanted := gwv1.GatewayStatus{Listeners: []gwv1.ListenerStatus{
		listener("a", condition("Programmed", "True", "Programmed", 1, metav1.Time{})),
		listener("b", condition("Programmed", "True", "Programmed", 1, metav1.Time{})),
	}}
	got := gatewayStatus(live, wanted, later)
	if a, b := got.Listeners[0].Conditions[0], got.Listeners[1].Conditions[0]; a.LastTransitionTime != later || b.LastTransitionTime != earlier {
		t.Errorf("a changed at %v, b at %v", a.LastTransitionTime, b.LastTransitionTime)
	}
	if !wanted.Listeners[0].Conditions[0].LastTransitionTime.IsZero() {
		t.Error("what is wanted was altered")
	}
}

// TestAListenerSetThatNobodyOwnsIsNotTouched: only what is no longer so is taken back, once.
func TestAListenerSetThatNobodyOwnsIsNotTouched(t *testing.T) {
	reason := string(mesh.ReasonParentNotFound)
	orphan := gwv1.ListenerSetStatus{Conditions: []metav1.Condition{
		condition("Accepted", "False", reason, 1, metav1.Time{}), condition("Programmed", "False", reason, 1, metav1.Time{}),
	}}
	for _, live := range []gwv1.ListenerSetStatus{
		{},
		{Conditions: []metav1.Condition{condition("Accepted", "Unknown", "Pending", 0, earlier)}},
		{Conditions: []metav1.Condition{condition("Accepted", "False", "NoSuchGateway", 1, earlier)}},
	} {
		if got := listenerSetStatus(live, orphan, later); !equality.Semantic.DeepEqual(got, live) {
			t.Errorf("%+v became %+v", live, got)
		}
	}
	accepted := condition("Accepted", "True", "Accepted", 1, earlier)
	live := gwv1.ListenerSetStatus{
		Conditions: []metav1.Condition{accepted, condition("Programmed", "False", "ListenersNotValid", 1, earlier)},
		Listeners:  []gwv1.ListenerEntryStatus{{Name: "web", Conditions: []metav1.Condition{accepted}}},
	}
	want := gwv1.ListenerSetStatus{Conditions: []metav1.Condition{
		condition("Accepted", "False", reason, 1, later), condition("Programmed", "False", reason, 1, earlier),
	}}
	if got := listenerSetStatus(live, orphan, later); !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	served := gwv1.ListenerSetStatus{Conditions: []metav1.Condition{condition("Accepted", "True", "Accepted", 2, metav1.Time{})}, Listeners: live.Listeners}
	if got := listenerSetStatus(live, served, later); got.Listeners[0].Conditions[0].LastTransitionTime != earlier || got.Conditions[0].LastTransitionTime != earlier {
		t.Errorf("what did not change has another time: %+v", got)
	}
}
