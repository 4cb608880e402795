package mesh

import (
	"slices"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// What a rate of retries is in retries that are under way at once.
func TestBudgets(t *testing.T) {
	rate := func(count int, interval string) *gwx.RequestRate {
		return &gwx.RequestRate{Count: &count, Interval: new(gwx.Duration(interval))}
	}
	for _, c := range []struct {
		percent *int
		rate    *gwx.RequestRate
		want    RetryBudget
	}{
		{nil, nil, RetryBudget{20, 10}},
		{new(0), rate(1, "1h"), RetryBudget{0, 1}},
		{new(100), rate(30, "1m"), RetryBudget{100, 1}},
		{new(50), rate(30, "20s"), RetryBudget{50, 2}},
		{new(50), rate(1000000, "1ms"), RetryBudget{50, mostLeastRetries}},
		{new(50), &gwx.RequestRate{Count: new(7)}, RetryBudget{50, 7}},
		{new(50), &gwx.RequestRate{Interval: new(gwx.Duration("5s"))}, RetryBudget{50, 2}},
		{new(50), &gwx.RequestRate{}, RetryBudget{50, 10}},
	} {
		got := budgetOf(&gwx.RetryConstraint{Budget: &gwx.BudgetDetails{Percent: c.percent}, MinRetryRate: c.rate})
		if *got != c.want {
			t.Errorf("%v, %+v: %+v, want %+v", c.percent, c.rate, *got, c.want)
		}
	}
	low, high := &RetryBudget{5, 10}, &RetryBudget{20, 1}
	if stricter(low, high) != low || stricter(high, low) != low || stricter(nil, high) != high || stricter(high, nil) != high {
		t.Error("the lower budget does not hold for several Services")
	}
}

// Rules never share a session, unless they name it themselves.
func TestSessionNames(t *testing.T) {
	cart, stock := Origin{Kind: HTTPRoute, Namespace: "shop", Name: "cart"}, Origin{Kind: HTTPRoute, Namespace: "shop", Name: "stock"}
	named := &gwv1.SessionPersistence{SessionName: new("mine")}
	if a, b := newSession(named, cart, false).Name, newSession(named, stock, false).Name; a != "mine" || b != "mine" {
		t.Errorf("%s, %s", a, b)
	}
	second := cart
	second.Index = 1
	var names []string
	for _, wanted := range []*gwv1.SessionPersistence{{}, {Type: new(gwv1.HeaderBasedSessionPersistence)}} {
		for _, of := range []Origin{cart, second, stock} {
			names = append(names, newSession(wanted, of, false).Name)
		}
	}
	for _, of := range []Origin{cart, second, stock} {
		names = append(names, newSession(named, of, true).Name)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("rules share a name: %v", names)
	}
	for _, name := range names {
		if !ValidHeaderName(name) {
			t.Errorf("%q is no header's name", name)
		}
	}
}

// What the mesh claims the suite knows, and looks for in an XMesh.
func TestMeshFeatures(t *testing.T) {
	ofGateways := features.SetsToNamesSet(features.GatewayCoreFeatures, features.GatewayExtendedFeatures)
	all := features.SetsToNamesSet(features.AllFeatures)
	for _, f := range MeshFeatures {
		if !all.Has(f) || ofGateways.Has(f) {
			t.Errorf("feature %s is not one of a mesh", f)
		}
	}
	for f := range features.SetsToNamesSet(features.MeshCoreFeatures, features.MeshExtendedFeatures) {
		if !slices.Contains(MeshFeatures, f) {
			t.Errorf("feature %s is not claimed", f)
		}
	}
}
