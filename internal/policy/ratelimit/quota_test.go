package ratelimit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	globalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func ofAll(t *testing.T, text string) *v1alpha1.RateLimit {
	t.Helper()
	says := &v1alpha1.RateLimit{Global: &v1alpha1.RequestLimits{}}
	if err := yaml.UnmarshalStrict([]byte(text), says.Global); err != nil {
		t.Fatal(err)
	}
	return says
}

// TestQuestions: a proxy asks about each limit of all proxies by what the service knows it by, and with as many
// values; about others, and where there are none, nobody is asked.
func TestQuestions(t *testing.T) {
	says := ofAll(t, `{headers: None, limits: [{requests: 10}, {requests: 5, per: 1m, burst: 2}, {requests: 1, per: 1h, by: [{type: Caller}, {type: Header, header: X-A, value: v}]}]}`)
	says.Local = &v1alpha1.RequestLimits{Limits: []v1alpha1.RequestLimit{{Requests: 1}}}
	local := room.Written[v1alpha1.RateLimit]{Policy: "shop/local", Says: &v1alpha1.RateLimit{Local: says.Local}}
	for _, gateway := range []bool{true, false} {
		f := asking([]room.Written[v1alpha1.RateLimit]{local, {Policy: "shop/a", Says: says}}, room.Port{Gateway: gateway, Routes: "here"}).(*globalv3.RateLimit)
		known := quotas(says)
		if len(f.RateLimits) != 3 || len(known) != 3 || f.Domain != "here" {
			t.Fatalf("%d questions at %s about %d limits", len(f.RateLimits), f.Domain, len(known))
		}
		for i, l := range f.RateLimits {
			keys := keysOf(l.Actions)
			if id := l.Actions[1].GetGenericKey().DescriptorValue; id != known[i].ID || len(keys) != 2+len(known[i].By) || keys[0] != room.MarkedBy {
				t.Errorf("asked about %s with %v; known is %+v", id, keys, known[i])
			}
		}
	}
	if got := asking([]room.Written[v1alpha1.RateLimit]{local}, room.Port{}); got != nil {
		t.Errorf("of local limits: %v", got)
	}
	if got := quotas(local.Says); got != nil {
		t.Errorf("of local limits: %v", got)
	}
	var got []string
	for _, l := range quotas(says) {
		got = append(got, fmt.Sprint(l.Requests, " ", l.Per, " ", l.Burst, " ", l.Told, " ", l.By))
	}
	if got, want := strings.Join(got, ", "), "10 1s 10 false [], 5 1m0s 2 false [], 1 1h0m0s 1 false [{ true} {v false}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestIdentified: a limit's ID says what it counts by, so that other numbers and other limits leave it.
func TestIdentified(t *testing.T) {
	ids := func(text string) (out []string) {
		for _, l := range quotas(ofAll(t, text)) {
			out = append(out, l.ID)
		}
		return out
	}
	before := ids(`{limits: [{requests: 1, by: [{type: Path}]}, {requests: 1}, {requests: 2, per: 1h}]}`)
	after := ids(`{limits: [{requests: 1, by: [{type: Method}]}, {requests: 9, per: 1m}, {requests: 3, burst: 9, by: [{type: Path}]}, {requests: 2, per: 1h}]}`)
	if before[0] != after[2] || before[1] != after[1] || before[2] != after[3] {
		t.Errorf("%v became %v", before, after)
	}
	if all := slices.Compact(slices.Sorted(slices.Values(after))); len(all) != 4 {
		t.Errorf("not all are different: %v", after)
	}
}

// TestTimes: what the API server would refuse is not divided by.
func TestTimes(t *testing.T) {
	for _, l := range quotas(ofAll(t, `{limits: [{requests: -1, per: never, burst: -3}]}`)) {
		if l.Requests != 1 || l.Per != time.Second || l.Burst != 1 {
			t.Errorf("%+v", l)
		}
	}
}
