package rls

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/grpcserver/grpcservertest"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

// door is an authenticator that knows one token, and counts how often it is asked.
type door struct {
	asked atomic.Int32
	open  chan struct{}
}

func (d *door) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	d.asked.Add(1)
	<-d.open
	if token != "who I am" {
		return xds.Identity{}, errors.New("unknown token")
	}
	return xds.Identity{Namespace: "shop", ServiceAccount: "web", Pod: "web-1", Expires: time.Now().Add(time.Hour)}, nil
}

// serve has a server of one limit, and returns a client of it.
func serve(t testing.TB, d *door, limit quota.Limit) rlsv3.RateLimitServiceClient {
	t.Helper()
	table := quota.New()
	table.SetPolicy("shop/p", []quota.Limit{limit})
	table.SetPlace("port", []string{"shop/p"})
	table.See("port", "web", true)
	asks := func(who xds.Identity) (quota.Who, bool) {
		return quota.Who{Scopes: []string{who.ServiceAccount}, Caller: who.Namespace + "/" + who.ServiceAccount}, true
	}
	return rlsv3.NewRateLimitServiceClient(grpcservertest.Serve(t, func(c grpcserver.Certificate) grpcservertest.Server {
		return NewServer(Options{Table: table, Certificate: c, Authenticator: d, Asks: asks})
	}))
}

// as is a context with a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func question(values ...string) *rlsv3.RateLimitRequest {
	d := &commonv3.RateLimitDescriptor{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "policy", Value: "shop/p"}, {Key: "limit", Value: "a"}}}
	for _, v := range values {
		d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: "x", Value: v})
	}
	return &rlsv3.RateLimitRequest{Domain: "port", Descriptors: []*commonv3.RateLimitDescriptor{d}, HitsAddend: 1000}
}

func openDoor() *door {
	d := &door{open: make(chan struct{})}
	close(d.open)
	return d
}

// TestServer: a question takes one token, however many it says, of the bucket of who asks; what callers are told
// comes with the answer. The token is reviewed once.
func TestServer(t *testing.T) {
	d := openDoor()
	client := serve(t, d, quota.Limit{ID: "a", Requests: 2, Per: time.Hour, Burst: 2, Told: true, By: []quota.Property{{Caller: true}}})
	ctx := as(t.Context(), "who I am")
	for n, want := range []string{
		"OK [x-ratelimit-limit:2 x-ratelimit-remaining:1 x-ratelimit-reset:0]",
		"OK [x-ratelimit-limit:2 x-ratelimit-remaining:0 x-ratelimit-reset:1800]",
		"OVER_LIMIT [retry-after:1800 x-ratelimit-limit:2 x-ratelimit-remaining:0 x-ratelimit-reset:1800]",
	} {
		r, err := client.ShouldRateLimit(ctx, question(fmt.Sprint("I am ", n)))
		if err != nil {
			t.Fatal(err)
		}
		var headers []string
		for _, h := range r.ResponseHeadersToAdd {
			headers = append(headers, h.Key+":"+h.Value)
		}
		if got := fmt.Sprint(r.OverallCode, " ", headers); got != want {
			t.Errorf("question %d: %s, want %s", n, got, want)
		}
	}
	if r, err := client.ShouldRateLimit(ctx, &rlsv3.RateLimitRequest{Domain: "port"}); err != nil || r.OverallCode != rlsv3.RateLimitResponse_OK {
		t.Errorf("nothing asked: %v %v", r, err)
	}
	if got := d.asked.Load(); got != 1 {
		t.Errorf("the token is reviewed %d times", got)
	}
}

// TestCollectors: what is answered is counted, by answer.
func TestCollectors(t *testing.T) {
	client := serve(t, openDoor(), quota.Limit{ID: "a", Requests: 1, Per: time.Hour, Burst: 1})
	ctx := as(t.Context(), "who I am")
	elsewhere := question()
	elsewhere.Domain = "elsewhere"
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collectors(quota.New())...)
	told := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				for _, l := range m.Label {
					out[f.GetName()+" "+l.GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		return out
	}
	before := told()
	for _, r := range []*rlsv3.RateLimitRequest{question(), question(), question(), elsewhere} {
		if _, err := client.ShouldRateLimit(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.ShouldRateLimit(t.Context(), question()); err == nil {
		t.Error("a stranger is answered")
	}
	after := told()
	for answer, want := range map[string]float64{"allowed": 1, "limited": 2, "unknown": 1, "refused": 1} {
		if got := after["weft_quota_decisions_total "+answer] - before["weft_quota_decisions_total "+answer]; got != want {
			t.Errorf("%s: %v more, want %v", answer, got, want)
		}
	}
}

func TestStrangers(t *testing.T) {
	client := serve(t, openDoor(), quota.Limit{ID: "a", Requests: 1, Per: time.Hour, Burst: 1})
	for name, ctx := range map[string]context.Context{"no token": t.Context(), "an unknown token": as(t.Context(), "somebody"), "two tokens": as(as(t.Context(), "who I am"), "who I am")} {
		if r, err := client.ShouldRateLimit(ctx, question()); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
	if r, err := client.ShouldRateLimit(as(t.Context(), "who I am"), question()); err != nil || r.OverallCode != rlsv3.RateLimitResponse_OK {
		t.Errorf("after strangers: %v %v", r, err)
	}
}

// TestImpatience: a question that gives up while its token is reviewed leaves the review to the next.
func TestImpatience(t *testing.T) {
	d := &door{open: make(chan struct{})}
	client := serve(t, d, quota.Limit{ID: "a", Requests: 10, Per: time.Hour, Burst: 10})
	for range 3 {
		ctx, cancel := context.WithTimeout(as(t.Context(), "who I am"), 50*time.Millisecond)
		if r, err := client.ShouldRateLimit(ctx, question()); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v %v", r, err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(as(t.Context(), "another"), 50*time.Millisecond)
	defer cancel()
	if r, err := client.ShouldRateLimit(ctx, question()); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("another token meanwhile: %v %v", r, err)
	}
	close(d.open)
	if r, err := client.ShouldRateLimit(as(t.Context(), "who I am"), question()); err != nil || r.OverallCode != rlsv3.RateLimitResponse_OK {
		t.Errorf("%v %v", r, err)
	}
	if got := d.asked.Load(); got > 1 {
		t.Errorf("the token is reviewed %d times", got)
	}
}

// TestAtOnce: of many questions at once as many pass as there are tokens.
func TestAtOnce(t *testing.T) {
	client := serve(t, openDoor(), quota.Limit{ID: "a", Requests: 1, Per: 24 * time.Hour, Burst: 100})
	ctx := as(t.Context(), "who I am")
	var passed atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				r, err := client.ShouldRateLimit(ctx, question())
				if err != nil {
					t.Error(err)
				} else if r.OverallCode == rlsv3.RateLimitResponse_OK {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d pass, want 100", passed.Load())
	}
}

// FuzzAsked: whatever a proxy says is read without harm, and no more of it than is there.
func FuzzAsked(f *testing.F) {
	f.Add("shop/p", "a", "x", 3)
	f.Add("", "", "", 0)
	f.Fuzz(func(t *testing.T, policy, id, value string, entries int) {
		d := &commonv3.RateLimitDescriptor{}
		for i := range entries % 12 {
			d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Value: []string{policy, id, value}[min(i, 2)]})
		}
		r := &rlsv3.RateLimitRequest{Descriptors: []*commonv3.RateLimitDescriptor{d, {}, d}}
		for _, a := range asked(r) {
			if a.Policy != policy || a.ID != id || len(a.Values) != len(d.Entries)-2 {
				t.Errorf("read as %+v", a)
			}
		}
	})
}
