package ratelimit

import (
	"fmt"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func filter(t *testing.T, gateway bool, limits ...string) *localv3.LocalRateLimit {
	t.Helper()
	var said []room.Written[v1alpha1.RateLimit]
	for i, text := range limits {
		says := &v1alpha1.RateLimit{Local: &v1alpha1.RequestLimits{}}
		if err := yaml.UnmarshalStrict([]byte(text), &says.Local.Limits); err != nil {
			t.Fatal(err)
		}
		said = append(said, room.Written[v1alpha1.RateLimit]{Policy: fmt.Sprintf("shop/%d", i), Says: says})
	}
	return buckets(said, room.Port{Gateway: gateway}).(*localv3.LocalRateLimit)
}

// TestNothingSaid: without limits all pass, whatever the default bucket holds.
func TestNothingSaid(t *testing.T) {
	if f := filter(t, true); f.FilterEnabled != nil || f.FilterEnforced != nil {
		t.Errorf("it limits: %v", f)
	}
	if f := buckets([]room.Written[v1alpha1.RateLimit]{{Policy: "shop/a", Says: &v1alpha1.RateLimit{}}}, room.Port{Gateway: true}).(*localv3.LocalRateLimit); f.FilterEnabled != nil {
		t.Errorf("it limits: %v", f)
	}
}

// TestDescriptors: no two limits have the same descriptor, which Envoy would refuse, and every descriptor is
// what the actions of its limit make, key for key.
func TestDescriptors(t *testing.T) {
	same := `[{requests: 1}, {requests: 1}, {requests: 1, by: [{type: Caller}, {type: SourceIP}, {type: Path}, {type: Method}]}, {requests: 2, by: [{type: Header, header: X-A}, {type: Header, header: x-b, value: v}]}]`
	for _, gateway := range []bool{true, false} {
		f := filter(t, gateway, same, same)
		seen := map[string]bool{}
		for i, d := range f.Descriptors {
			var keys []string
			for _, e := range d.Entries {
				keys = append(keys, e.Key)
			}
			made := keysOf(f.RateLimits[i].Actions)
			if strings.Join(keys, ", ") != strings.Join(made, ", ") {
				t.Errorf("limit %d has the keys %v, and is asked for %v", i, keys, made)
			}
			text := fmt.Sprint(d.Entries)
			if seen[text] {
				t.Errorf("twice: %s", text)
			}
			seen[text] = true
		}
		if len(seen) != 8 {
			t.Errorf("%d limits of 8", len(seen))
		}
	}
}

func keysOf(actions []*routev3.RateLimit_Action) (out []string) {
	for _, a := range actions {
		switch {
		case a.GetMetadata() != nil:
			out = append(out, a.GetMetadata().DescriptorKey)
		case a.GetGenericKey() != nil:
			out = append(out, a.GetGenericKey().DescriptorKey)
		case a.GetRequestHeaders() != nil:
			out = append(out, a.GetRequestHeaders().DescriptorKey)
		case a.GetMaskedRemoteAddress() != nil:
			out = append(out, "masked_remote_address")
		default: // an expression of CEL has its key before its text
			value := string(a.GetExtension().GetTypedConfig().GetValue())
			out = append(out, value[2:2+value[1]])
		}
	}
	return out
}

// TestBuckets: what people write, and what is not theirs to write.
func TestBuckets(t *testing.T) {
	for text, want := range map[string]string{
		"[{requests: 5}]":                       "5 5 1s",
		"[{requests: 5, per: 1m, burst: 2}]":    "2 5 1m0s",
		"[{requests: 5, per: 100ms}]":           "5 5 1s",
		"[{requests: -1, per: never}]":          "1 1 1s",
		"[{requests: 1, per: 24h, burst: 100}]": "100 1 24h0m0s",
	} {
		b := filter(t, true, text).Descriptors[0].TokenBucket
		if got := fmt.Sprint(b.MaxTokens, " ", b.TokensPerFill.GetValue(), " ", b.FillInterval.AsDuration()); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestCaller: a sidecar's caller is one, whom no request need name.
func TestCaller(t *testing.T) {
	by := `[{requests: 1, by: [{type: Caller}]}]`
	if a := filter(t, false, by).RateLimits[0].Actions[2]; a.GetGenericKey().GetDescriptorValue() == "" {
		t.Errorf("at a sidecar: %v", a)
	}
	if a := filter(t, true, by).RateLimits[0].Actions[2]; a.GetExtension() == nil {
		t.Errorf("at a Gateway: %v", a)
	}
}

// TestCap: what one proxy lets through of a limit of all is no more than the limit.
func TestCap(t *testing.T) {
	said := []room.Written[v1alpha1.RateLimit]{{Policy: "shop/a", Says: &v1alpha1.RateLimit{
		Local:  &v1alpha1.RequestLimits{Limits: []v1alpha1.RequestLimit{{Requests: 7}}},
		Global: &v1alpha1.RequestLimits{Limits: []v1alpha1.RequestLimit{{Requests: 300, Per: "1m"}, {Requests: 1, Per: "1h", Burst: new(int32(40))}}},
	}}}
	f := buckets(said, room.Port{Gateway: true}).(*localv3.LocalRateLimit)
	var got []string
	for i, d := range f.Descriptors {
		got = append(got, fmt.Sprint(d.TokenBucket.MaxTokens, " ", d.TokenBucket.TokensPerFill.GetValue(), " ", d.TokenBucket.FillInterval.AsDuration(), " ", f.RateLimits[i].XRatelimitOption))
	}
	if got, want := strings.Join(got, ", "), "7 7 1s DRAFT_VERSION_03, 300 300 1m0s OFF, 40 1 1h0m0s OFF"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
