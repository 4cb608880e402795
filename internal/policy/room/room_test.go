package room

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

func TestLevels(t *testing.T) {
	got := []Level{
		LevelOf(Mesh, false), LevelOf(Namespace, false), LevelOf(ServiceAccount, false), LevelOf(Pods, false),
		LevelOf(Service, false), LevelOf(Service, true), LevelOf(HTTPRoute, false), LevelOf(HTTPRoute, true),
	}
	if !slices.IsSorted(got) || len(slices.Compact(got)) != 8 {
		t.Errorf("from outside in: %v", got)
	}
	if LevelOf(Gateway, true) != AtPort || LevelOf(GRPCRoute, true) != AtRule {
		t.Error("a listener is as far in as a port, a rule of a GRPCRoute as one of an HTTPRoute")
	}
}

// TestDecide: the same words by the rule of sections about traffic, and by that of security.
func TestDecide(t *testing.T) {
	says := func(policy string, l Level, n int) Written[int] {
		return Written[int]{Policy: policy, Level: l, Says: &n}
	}
	traffic := Section[int]{Holds: Innermost[int]}
	security := Section[int]{Holds: Tightest(func(n *int) int { return *n })}
	for name, c := range map[string]struct {
		written           []Written[int]
		traffic, security int
	}{
		"one":                         {[]Written[int]{says("a", AtMesh, 1)}, 1, 1},
		"the inner is stricter":       {[]Written[int]{says("a", AtMesh, 1), says("b", AtRule, 2)}, 2, 2},
		"the inner is less strict":    {[]Written[int]{says("a", AtMesh, 2), says("b", AtRule, 1)}, 1, 2},
		"the older is stricter":       {[]Written[int]{says("a", AtPort, 2), says("b", AtPort, 1)}, 2, 2},
		"the newer is stricter":       {[]Written[int]{says("a", AtPort, 1), says("b", AtPort, 2)}, 1, 2},
		"two levels, two of the last": {[]Written[int]{says("a", AtMesh, 3), says("b", AtPort, 1), says("c", AtPort, 2)}, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := *traffic.Decide(c.written).Says; got != c.traffic {
				t.Errorf("traffic: %d; want %d", got, c.traffic)
			}
			if got := *security.Decide(c.written).Says; got != c.security {
				t.Errorf("security: %d; want %d", got, c.security)
			}
		})
	}
	if traffic.Decide(nil) != (Written[int]{}) {
		t.Error("nothing is written, something holds")
	}
}

func TestContest(t *testing.T) {
	section := Section[v1alpha1.MTLS]{
		Of:    func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.MTLS { return spec.MTLS },
		Holds: Innermost[v1alpha1.MTLS],
	}
	entry := func(l Level, mode v1alpha1.MTLSMode) Entry {
		return Entry{Level: l, Spec: &v1alpha1.MeshPolicySpec{MTLS: &v1alpha1.MTLS{Mode: mode}}}
	}
	holds, others := section.Room().Contest([]Entry{
		entry(AtMesh, v1alpha1.MTLSStrict), entry(AtPort, v1alpha1.MTLSPermissive), entry(AtPort, v1alpha1.MTLSStrict), entry(AtPort, v1alpha1.MTLSPermissive),
	})
	if holds != 1 || !slices.Equal(others, []bool{true, false, true, false}) {
		t.Errorf("%d holds, others %v", holds, others)
	}
}

// TestClaimsFor: no level within a policy's own has a say in what it goes by.
func TestClaimsFor(t *testing.T) {
	for _, c := range []struct {
		own    Level
		demand []Level
		want   string
	}{
		{AtMesh, nil, ""},
		{AtMesh, []Level{AtMesh}, "claims"},
		{AtRule, []Level{AtMesh}, "claims"},
		{AtMesh, []Level{AtNamespace}, ""},
		{AtMesh, []Level{AtMesh, AtService}, "claims"},
		{AtNamespace, []Level{AtMesh, AtService}, "claims"},
		{AtService, []Level{AtMesh, AtService}, "claims/service"},
		{AtRule, []Level{AtMesh, AtService, AtRoute}, "claims/route"},
		{AtPort, []Level{AtService}, "claims"},
	} {
		if got := ClaimsFor(c.own, c.demand); got != c.want {
			t.Errorf("%d of %v: %q, want %q", c.own, c.demand, got, c.want)
		}
	}
}
