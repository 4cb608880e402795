package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func outliers(s v1alpha1.OutlierDetection) []room.Decided {
	return []room.Decided{{Section: "outlierDetection", Policy: "shop/outliers", Says: &s}}
}

func period(text string) *gwv1.Duration { return new(gwv1.Duration(text)) }

// moody is a backend that answers a status, after a while; of /well that it is.
type moody struct {
	status atomic.Int32 // 0: 200
	delay  atomic.Int64
	asked  atomic.Int32
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.UserAgent() != "Envoy/HC" { // a health check
		m.asked.Add(1)
	}
	select {
	case <-time.After(time.Duration(m.delay.Load())):
	case <-r.Context().Done():
	}
	if s := m.status.Load(); s != 0 && r.URL.Path != "/well" {
		w.WriteHeader(int(s))
	}
}

func moods(t *testing.T, n int) (all []*moody, at []mesh.Endpoint) {
	for range n {
		m := &moody{}
		all, at = append(all, m), append(at, serve(t, m.ServeHTTP)...)
	}
	return all, at
}

// load sends requests by some clients at once until it is told to stop; failed and all count them.
func load(t *testing.T, url string, clients int) (failed, all *atomic.Int32, stop func()) {
	failed, all = new(atomic.Int32), new(atomic.Int32)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(2 * time.Millisecond):
				}
				if status(url) != http.StatusOK {
					failed.Add(1)
				}
				all.Add(1)
			}
		})
	}
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return failed, all, stop
}

// TestOutliers: one of five backends answers 500, and one becomes slow: soon neither is sent to, and the client sees
// at most 1 % of errors; both get requests again when they have healed.
func TestOutliers(t *testing.T) {
	t.Parallel()
	backends, at := moods(t, 5)
	g := world{policies: outliers(v1alpha1.OutlierDetection{Interval: period("200ms"), BaseEjectionTime: period("6s")}),
		endpoints: map[string][]mesh.Endpoint{"cart": at}, hosts: host(t, `[{timeouts: {request: 300ms}, backendRefs: [{name: cart}]}]`)}.start(t)
	failed, all, stop := load(t, g.url, 8)
	eventually(t, "all backends are asked", func() bool {
		for _, b := range backends {
			if b.asked.Load() < 10 {
				return false
			}
		}
		return true
	})
	backends[0].status.Store(500)
	backends[1].delay.Store(int64(2 * time.Second))
	eventually(t, "both are left out", func() bool {
		return g.scraped("envoy_cluster_outlier_detection_ejections_active", "envoy_cluster_name", "cart") && backends[0].rests() && backends[1].rests()
	})
	failed.Store(0)
	all.Store(0)
	time.Sleep(2 * time.Second)
	if f, n := failed.Load(), all.Load(); n < 100 || f*100 > n {
		t.Errorf("%d of %d requests failed while two of five backends were ill", f, n)
	}
	backends[0].status.Store(0)
	backends[1].delay.Store(0)
	before := [2]int32{backends[0].asked.Load(), backends[1].asked.Load()}
	eventually(t, "both are asked again", func() bool {
		return backends[0].asked.Load() > before[0]+10 && backends[1].asked.Load() > before[1]+10
	})
	stop()
	if f, n := failed.Load(), all.Load(); f*100 > n {
		t.Errorf("%d of %d requests failed until both had healed", f, n)
	}
}

// rests says that a backend gets nothing for a while.
func (m *moody) rests() bool {
	was := m.asked.Load()
	time.Sleep(300 * time.Millisecond)
	return m.asked.Load() == was
}

// TestOutliersAreBounded: of two backends that both fail one goes on being sent to, and so does the only one.
func TestOutliersAreBounded(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1: 0, 2: 1} {
		backends, at := moods(t, n)
		for _, b := range backends {
			b.status.Store(500)
		}
		g := world{policies: outliers(v1alpha1.OutlierDetection{Interval: period("200ms")}),
			endpoints: map[string][]mesh.Endpoint{"cart": at}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
		for range 100 {
			if got := status(g.url); got != 500 {
				t.Fatalf("of %d backends: %d", n, got)
			}
		}
		resting := 0
		before := make([]int32, n)
		for i, b := range backends {
			before[i] = b.asked.Load()
		}
		for range 20 {
			status(g.url)
		}
		for i, b := range backends {
			if b.asked.Load() == before[i] {
				resting++
			}
		}
		if resting != want {
			t.Errorf("of %d backends that all fail %d are left out; want %d", n, resting, want)
		}
	}
}

// TestMostMayBeOutliers: where four of five may be left out, the fifth alone is sent to; below half of them Envoy would
// send to all.
func TestMostMayBeOutliers(t *testing.T) {
	t.Parallel()
	backends, at := moods(t, 5)
	for _, b := range backends[1:] {
		b.status.Store(500)
	}
	g := world{policies: outliers(v1alpha1.OutlierDetection{Consecutive5xx: new(int32(2)), MaxEjectionPercent: new(int32(80))}),
		endpoints: map[string][]mesh.Endpoint{"cart": at}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
	row := 0
	eventually(t, "only the one that is well answers", func() bool {
		if row++; status(g.url) != http.StatusOK {
			row = 0
		}
		return row > 30
	})
}

// TestEjectionGrows: each time that a backend fails again it is left out for longer, but never for longer than the
// maximum. It measures times, and has the machine to itself; where that is busy for a second, in which the backend is
// asked nothing, Envoy forgets a failure.
func TestEjectionGrows(t *testing.T) {
	times := make(chan time.Time, 1000)
	ill := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		times <- time.Now()
		w.WriteHeader(500)
	})
	_, well := moods(t, 1)
	g := world{policies: outliers(v1alpha1.OutlierDetection{Consecutive5xx: new(int32(1)), Interval: period("1s"), BaseEjectionTime: period("2s"), MaxEjectionTime: period("4s")}),
		endpoints: map[string][]mesh.Endpoint{"cart": append(ill, well...)}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
	_, _, stop := load(t, g.url, 2)
	defer stop()
	var gaps []time.Duration
	grown := 0
	const base, most, late = 2 * time.Second, 4 * time.Second, 50 * time.Millisecond
	for last := <-times; grown < 2 && len(gaps) < 8; { // a second one that is no longer than the first: the maximum
		now := <-times
		if gap := now.Sub(last); gap > base-500*time.Millisecond {
			gaps = append(gaps, gap)
			if gap > most-late {
				grown++
			}
		}
		last = now
	}
	if slices.Min(gaps) < base-late || slices.Max(gaps) > most+1900*time.Millisecond || gaps[0] > most-late || grown < 2 {
		t.Errorf("left out for %v; want 2, 4 and 4 s, and no more than an interval besides", gaps)
	}
}

// TestOutliersOfGRPC: a status that is the whole answer counts, and one that comes after a message does not.
func TestOutliersOfGRPC(t *testing.T) {
	t.Parallel()
	for _, message := range []bool{false, true} {
		var failing atomic.Int32
		ill := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			failing.Add(1)
			w.Header().Set("Content-Type", "application/grpc")
			if message {
				w.Header().Set("Trailer", "Grpc-Status")
				fmt.Fprint(w, "message")
			}
			w.Header().Set("Grpc-Status", "14")
		})
		well := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "0")
		})
		g := world{policies: outliers(v1alpha1.OutlierDetection{ConsecutiveGatewayErrors: new(int32(3)), Consecutive5xx: new(int32(0))}),
			endpoints: map[string][]mesh.Endpoint{"cart": append(ill, well...)}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
		for range 60 {
			g.send(t, "POST", "/", "Content-Type", "application/grpc")
		}
		if got := failing.Load(); message != (got > 10) {
			t.Errorf("after a message: %v: the failing backend was asked %d times of 60", message, got)
		}
	}
}

// TestLocalErrors: with the errors that the proxy alone knows of split off, a pod that cannot be reached goes by them
// and one that answers 500 stays; so does, of one request at a time, one that is only slow.
func TestLocalErrors(t *testing.T) {
	t.Parallel()
	backends, at := moods(t, 3)
	backends[0].status.Store(500)
	backends[1].delay.Store(int64(5 * time.Second))
	says := v1alpha1.OutlierDetection{Consecutive5xx: new(int32(0)), ConsecutiveLocalErrors: new(int32(2)), MaxEjectionPercent: new(int32(75))}
	g := world{policies: outliers(says), endpoints: map[string][]mesh.Endpoint{"cart": append(at, closedPort(t))},
		hosts: host(t, `[{timeouts: {request: 50ms}, retry: {attempts: 0}, backendRefs: [{name: cart}]}]`)}.start(t)
	counts := map[int]int{}
	for range 80 {
		counts[status(g.url)]++
	}
	if counts[500] < 5 || counts[504] < 5 || counts[503] > 4 {
		t.Errorf("answers %v; want many of 500 and 504, and few of 503", counts)
	}
}
