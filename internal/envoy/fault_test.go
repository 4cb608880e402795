package envoy_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// everyFault has everything that can be said of one.
const everyFault = `
delay: {duration: 2s, percent: 10}
abort: {httpStatus: 503, fraction: {numerator: 1, denominator: 1000}}
headers: [{name: x-try, value: "yes"}, {name: Host, type: RegularExpression, value: "a.*"}]
from: [{namespace: back}, {namespace: shop, serviceAccount: web}]
maxActive: 7
`

// faulty gives each path of a Service a fault of its own; the path is the rule's only match.
func faulty(t *testing.T, faults map[string]string) []mesh.VirtualHost {
	t.Helper()
	return decidedHost(t, faults, "  timeouts: {request: 200ms}\n  retry: {attempts: 3, codes: [503]}\n"+toA, faultBy)
}

func faultBy(t *testing.T, fault string) []room.Decided {
	return []room.Decided{{Section: "fault", Policy: "shop/fault", Says: roomtest.Written[v1alpha1.Fault](t, fault)}}
}

// TestFaults sends requests through a real Envoy that makes faults of them: some are answered with an error
// without any backend, some are late, and those that a fault is not about are untouched.
func TestFaults(t *testing.T) {
	var served atomic.Int32
	endpoints := map[string][]mesh.Endpoint{"a": serve(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })}
	hosts := faulty(t, map[string]string{
		"/aborted": `{abort: {httpStatus: 418}}`,
		"/failed":  `{abort: {httpStatus: 503}}`,
		"/grpc":    `{abort: {grpcStatus: 14}}`,
		"/half":    `{abort: {httpStatus: 503, percent: 50}}`,
		"/late":    `{delay: {duration: 500ms}}`,
		"/both":    `{delay: {duration: 300ms}, abort: {httpStatus: 500}}`,
		"/some":    `{abort: {httpStatus: 503}, headers: [{name: x-try, value: "yes"}, {name: x-user, type: RegularExpression, value: "a.*"}]}`,
		"/ended":   `{abort: {httpStatus: 503}}`,
	})
	for i := range hosts[0].Rules {
		if *hosts[0].Rules[i].Matches[0].Path.Value == "/ended" {
			hosts[0].Rules[i].Policies[0].Ended = true
		}
	}
	proxy := world{endpoints: endpoints, hosts: hosts}.start(t)
	for _, c := range []struct {
		path    string
		headers []string
		status  int
		least   time.Duration
		served  int32
	}{
		{"/aborted", nil, 418, 0, 0},
		{"/failed", nil, 503, 0, 0}, // and not tried again
		{"/grpc", nil, 503, 0, 0},
		{"/late", nil, 200, 500 * time.Millisecond, 1}, // though the rule's limit is 200ms
		{"/both", nil, 500, 300 * time.Millisecond, 0},
		{"/some", nil, 200, 0, 1},
		{"/some", []string{"x-try", "yes", "x-user", "bob"}, 200, 0, 1},
		{"/some", []string{"x-try", "yes", "x-user", "ada"}, 503, 0, 0},
		{"/ended", nil, 200, 0, 1},
	} {
		const early = 20 * time.Millisecond // Envoy counts from when its loop last looked at the clock
		served.Store(0)
		start := time.Now()
		response, _ := proxy.send(t, "GET", c.path, c.headers...)
		if took := time.Since(start); response.StatusCode != c.status || served.Load() != c.served || took < c.least-early {
			t.Errorf("%s %v: %d after %v, served %d; want %d after %v, served %d", c.path, c.headers, response.StatusCode, took, served.Load(), c.status, c.least, c.served)
		}
	}
	if r, _ := proxy.send(t, "POST", "/grpc", "Content-Type", "application/grpc"); r.StatusCode != 200 || r.Header.Get("Grpc-Status") != "14" {
		t.Errorf("by gRPC: %d, %v", r.StatusCode, r.Header)
	}
	halves(t, proxy)
	if got := status(proxy.ready + envoy.ReadyPath); got != 200 {
		t.Errorf("the proxy's own readiness: %d", got)
	}
	told(t, proxy)
}

// halves fails about half of the requests: of 300, one in a million times fewer than 107 or more than 193.
func halves(t *testing.T, proxy *gateway) {
	t.Helper()
	failed := 0
	for range 300 {
		if r, _ := proxy.send(t, "GET", "/half"); r.StatusCode == 503 {
			failed++
		}
	}
	if failed < 107 || failed > 193 {
		t.Errorf("of 300 requests %d failed, want about a half", failed)
	}
}

// told looks for faults in the log and in the metrics.
func told(t *testing.T, proxy *gateway) {
	t.Helper()
	eventually(t, "the log tells of the faults", func() bool {
		text := proxy.log.String()
		return strings.Contains(text, `"flags":"DI"`) && strings.Contains(text, `"flags":"FI"`) && strings.Contains(text, `"flags":"DI,FI"`)
	})
	eventually(t, "the metrics tell of the faults", func() bool {
		text := string(fetch(t, proxy.stats+envoy.StatsPath, "identity"))
		return strings.Contains(text, `response_flags="FI"`) && strings.Contains(text, `response_flags="DI"`)
	})
}

// TestFaultsAtOnce: no more requests are held back than may be.
func TestFaultsAtOnce(t *testing.T) {
	proxy := world{endpoints: echoes(t, "a"), hosts: faulty(t, map[string]string{"/late": `{delay: {duration: 2s}, maxActive: 2}`})}.start(t)
	var prompt atomic.Int32
	done := make(chan struct{})
	for range 6 {
		go func() {
			defer func() { done <- struct{}{} }()
			start := time.Now()
			if r, err := client.Get(proxy.url + "/late"); err == nil {
				r.Body.Close()
				if time.Since(start) < time.Second {
					prompt.Add(1)
				}
			}
		}()
	}
	for range 6 {
		<-done
	}
	if n := prompt.Load(); n < 3 || n > 4 { // Envoy's bound is not an exact one
		t.Errorf("of 6 requests at once %d were not held back, want 4", n)
	}
}

// TestFaultsOfCallers: a sidecar makes the faults that are for its own pod, and no others; by calls of gRPC too.
func TestFaultsOfCallers(t *testing.T) {
	const others = `from: [{namespace: shop, serviceAccount: cart}, {namespace: back, serviceAccount: web}]}`
	host := decidedHost(t, map[string]string{
		"/ours":        `{abort: {httpStatus: 503}, from: [{namespace: back}, {namespace: shop, serviceAccount: web}]}`,
		"/namespace":   `{abort: {grpcStatus: 14}, from: [{namespace: shop}]}`,
		"/theirs":      `{abort: {httpStatus: 503}, ` + others,
		"/theirs/grpc": `{abort: {grpcStatus: 14}, ` + others,
	}, toA, faultBy)[0]
	host.Routes = "outbound/shop/cart/80"
	proxy := &gateway{url: startCaller(t, map[string][]mesh.Endpoint{"a": serveText(t, "a")}, host)}
	for path, want := range map[string]int{"/ours": 503, "/namespace": 503, "/theirs": 200, "/theirs/grpc": 200} {
		if response, _ := proxy.send(t, "GET", path, "X-Weft-Caller", "shop/cart"); response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
	if r, _ := proxy.send(t, "POST", "/namespace", "Content-Type", "application/grpc"); r.Header.Get("Grpc-Status") != "14" {
		t.Errorf("by gRPC: %d, %v", r.StatusCode, r.Header)
	}
}
