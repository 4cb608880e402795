package mesh

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestContestForPods: policies whose subjects only meet in pods. The first one is asked what became
// of it.
func TestContestForPods(t *testing.T) {
	const (
		onBack = "targetRefs: [{pods: {selector: {matchLabels: {tier: back}}}}], "
		onAll  = "targetRefs: [{kind: Service, name: all}], "
	)
	for name, c := range map[string]struct {
		policies        []string
		lost, contested string // the reason, and who is named
	}{
		"overlapping labels":               {[]string{"shop: {" + onLabels + lenient + "}", "shop: {" + onBack + strict + "}"}, "Conflicted shop/p1", "Conflicted shop/p1"},
		"overlapping labels, the stricter": {[]string{"shop: {" + onLabels + strict + "}", "shop: {" + onBack + lenient + "}"}, "", "Conflicted shop/p1"},
		"labels that agree":                {[]string{"shop: {" + onLabels + strict + "}", "shop: {" + onBack + strict + "}"}, "", ""},
		"labels of others":                 {[]string{"shop: {" + onLabels + lenient + "}", "shop: {" + onOthers + strict + "}"}, "", ""},
		"two Services, one port":           {[]string{"shop: {" + onHTTP + lenient + "}", "shop: {targetRefs: [{kind: Service, name: all, port: 80}], " + strict + "}"}, "Conflicted shop/p1", "Conflicted shop/p1"},
		"two Services, two ports":          {[]string{"shop: {" + onAdmin + lenient + "}", "shop: {" + onAll + strict + "}"}, "", ""},
		"an outer level demands more":      {[]string{"shop: {" + onHTTP + lenient + "}", "shop: {" + onSA + strict + "}"}, "Overridden shop/p1", ""},
		"an inner level demands more":      {[]string{"shop: {" + onSA + lenient + "}", "shop: {" + onHTTP + strict + "}"}, "", ""},
		"in shadow":                        {[]string{"shop: {" + onLabels + lenient + "}", "shop: {mode: Shadow, " + onBack + strict + "}"}, "", ""},
		"another section":                  {[]string{"shop: {" + onLabels + lenient + "}", "shop: {" + onBack + "egress: {mode: Deny}}"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := meshWith(t, c.policies...)
			p, _ := m.MeshPolicies.Get(nil, "shop/p0")
			chosen := func(port int32) []selected { return m.selecting(nil, shop, port) }
			var losses, conflicts []Verdict
			for _, rivals := range m.rivalsFor(nil, p, subjects(p)[0], shop, chosen) {
				lost, contested := contestIn(roomNamed("mtls"), rivals, p, subjects(p)[0])
				losses, conflicts = append(losses, lost), append(conflicts, contested)
			}
			expect(t, "lost", join(losses), c.lost)
			expect(t, "contested", join(conflicts), c.contested)
		})
	}
}

func roomNamed(name string) room.Room {
	return policy.All[slices.IndexFunc(policy.All, func(r room.Room) bool { return r.Name == name })]
}

func expect(t *testing.T, what string, got Verdict, want string) {
	t.Helper()
	reason, named, _ := strings.Cut(want, " ")
	if got.Reason != reason || !strings.Contains(got.Message, named) {
		t.Errorf("%s: %+v; want %q", what, got, want)
	}
}
