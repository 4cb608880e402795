package envoy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/mesh"
)

// TestBalancing: the shares of five backends that are alike, one request after the other.
func TestBalancing(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: RoundRobin}", numbered(t, 5, nil)...)
	const each = 100
	for section, off := range map[string]int{ // by chance: 5 standard deviations
		"{algorithm: RoundRobin}": 1, "{algorithm: Random}": 45, "{panicThreshold: 50}": 45, "{algorithm: LeastRequest, choices: 5}": 45,
		"{algorithm: ClientSideWeighted}": 1, // of which none reports
	} {
		b.change(section)
		all := b.shares(5 * each)
		for backend, got := range all {
			if got < each-off || got > each+off || backend == "" {
				t.Errorf("%s: backend %q answers %d of %d requests: %v", section, backend, got, 5*each, all)
			}
		}
	}
}

// TestLeastRequest: a backend that is slow gets less than the others, where others would give it as much.
func TestLeastRequest(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: RoundRobin}", numbered(t, 4, func(backend int, _ http.ResponseWriter) {
		if backend == 0 {
			time.Sleep(200 * time.Millisecond)
		}
	})...)
	slow := func() (share int) { // of 100
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 50 {
					if b.by("/") == "0" {
						mu.Lock()
						share++
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		return share / 4
	}
	if share := slow(); share < 23 || share > 27 {
		t.Errorf("RoundRobin gives the slow of four backends %d %%", share)
	}
	b.change("{algorithm: LeastRequest, choices: 4}")
	if share := slow(); share > 12 {
		t.Errorf("LeastRequest gives the slow of four backends %d %%", share)
	}
}

// keyed is a way to say a key, and the section that goes by it.
var keyed = map[string]struct {
	hash string
	ask  func(b *balancer, key string) string
}{
	"header": {"{type: Header, name: x-user}", func(b *balancer, key string) string { return b.by("/", "X-User", key) }},
	"cookie": {"{type: Cookie, name: user}", func(b *balancer, key string) string { return b.by("/", "Cookie", "a=b; user="+key) }},
	"query":  {"{type: QueryParameter, name: user}", func(b *balancer, key string) string { return b.by("/?a=b&user=" + key) }},
	"host":   {"{type: Header, name: Host}", func(b *balancer, key string) string { return b.by("/", "Host", key+".test") }},
	"second": {"{type: Header, name: x-user}, {type: QueryParameter, name: user}", func(b *balancer, key string) string { return b.by("/?user=" + key) }},
	"first":  {"{type: QueryParameter, name: user}, {type: Header, name: x-user}", func(b *balancer, key string) string { return b.by("/?user="+key, "X-User", fmt.Sprint(time.Now())) }},
}

// TestHash: when one of ten backends leaves, nearly all keys of the others stay where they are, and when it comes
// back all keys are where they were.
func TestHash(t *testing.T) {
	t.Parallel()
	const keys = 500
	for algorithm, least := range map[string]float64{"RingHash": 0.87, "RingHash, ringSize: 10000": 0.87, "Maglev": 0.97} {
		b := startBalancer(t, mesh.HTTP1, "{algorithm: "+algorithm+", hash: ["+keyed["header"].hash+"]}", numbered(t, 10, nil)...)
		places := func() map[string]string {
			out := map[string]string{}
			for i := range keys {
				key := fmt.Sprint("user-", i)
				out[key] = keyed["header"].ask(b, key)
			}
			return out
		}
		before := places()
		b.move(b.backends[1:]...)
		without := places()
		left, stay, stayed := 0, 0, 0
		for key, backend := range before {
			if backend == "0" {
				left++
				continue
			}
			if stay++; without[key] == backend {
				stayed++
			}
		}
		t.Logf("%s: one of ten backends leaves with %d of %d keys; of the others' %d keys %d stay: %.1f %% of all are kept", algorithm, left, keys, stay, stayed, 100*float64(stayed)/keys)
		if left == 0 || float64(stayed) < least*float64(stay) {
			t.Errorf("%s: of %d keys of backends that stay %d stay", algorithm, stay, stayed)
		}
		b.move(b.backends...)
		for key, backend := range places() {
			if backend != before[key] {
				t.Errorf("%s: all backends are back; %s is at %s, and was at %s", algorithm, key, backend, before[key])
			}
		}
	}
}

// TestHashKeys: each way to say a key.
func TestHashKeys(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: RoundRobin}", numbered(t, 10, nil)...)
	for name, way := range keyed {
		b.change("{algorithm: Maglev, hash: [" + way.hash + "]}")
		found := map[string]bool{}
		for i := range 30 {
			key := fmt.Sprint("user-", i)
			backend := way.ask(b, key)
			found[backend] = true
			for range 5 {
				if again := way.ask(b, key); again != backend {
					t.Fatalf("%s: %s is at %s, then at %s", name, key, backend, again)
				}
			}
		}
		if len(found) < 7 { // of 10, by 30 keys
			t.Errorf("%s: all keys are at %v", name, found)
		}
	}
	b.change("{algorithm: Maglev, hash: [" + keyed["header"].hash + "]}")
	if got := len(b.shares(60)); got < 7 {
		t.Errorf("requests without a key go to %d of 10 backends", got)
	}
}

// TestHashCookie: where a cookie with ttl is missing the proxy makes one, by which the client comes back to
// the same backend; without ttl it makes none.
func TestHashCookie(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: RingHash, hash: [{type: Cookie, name: at, ttl: 1500ms}]}", numbered(t, 10, nil)...)
	for range 20 {
		first, _ := b.send(t, "GET", "/any")
		cookies := first.Cookies()
		if len(cookies) != 1 || cookies[0].Name != "at" || cookies[0].Path != "/" || cookies[0].MaxAge != 2 || !cookies[0].HttpOnly {
			t.Fatalf("made: %v", first.Header)
		}
		again, _ := b.send(t, "GET", "/other", "Cookie", "at="+cookies[0].Value)
		if first.Header.Get("Backend") != again.Header.Get("Backend") || len(again.Cookies()) != 0 {
			t.Fatalf("with the cookie: %v; at first: %v", again.Header, first.Header)
		}
	}
	b.change("{algorithm: RingHash, hash: [{type: Cookie, name: at, ttl: 0s, path: /shop}]}")
	if r, _ := b.send(t, "GET", "/"); len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge != 0 || r.Cookies()[0].Path != "/shop" {
		t.Errorf("with ttl 0s: %v", r.Header)
	}
	b.change("{algorithm: RingHash, hash: [{type: Cookie, name: at}]}")
	if r, _ := b.send(t, "GET", "/"); len(r.Cookies()) != 0 {
		t.Errorf("without ttl: %v", r.Header)
	}
}

// TestHashSource: connections of TCP, and requests, from one address go to one backend.
func TestHashSource(t *testing.T) {
	t.Parallel()
	var names []mesh.Endpoint
	for i := range 10 {
		names = append(names, namer(t, fmt.Sprint(i)))
	}
	b := startBalancer(t, mesh.TCP, "{algorithm: Maglev, hash: [{type: SourceIP}]}", names...)
	found := map[string]bool{}
	for i := range 30 {
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}}
		var at string
		for range 4 {
			c, err := from.Dial("tcp", b.tcp)
			if err != nil {
				t.Fatal(err)
			}
			name, err := bufio.NewReader(c).ReadString('\n')
			c.Close()
			if name = strings.TrimSpace(name); err != nil || at != "" && at != name {
				t.Fatalf("from %s: %q, then %q, %v", from.LocalAddr, at, name, err)
			}
			at = name
		}
		found[at] = true
	}
	if len(found) < 7 {
		t.Errorf("all addresses are at %v", found)
	}
}

// TestPanicThreshold: few healthy backends get all requests while there are enough of them.
func TestPanicThreshold(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: RoundRobin}", numbered(t, 4, nil)...)
	hash := ", hash: [{type: QueryParameter, name: none}]"
	for _, c := range []struct {
		section string
		ill     int
		used    int // how many backends get requests
	}{
		{"{algorithm: RoundRobin}", 3, 4}, {"{panicThreshold: 20}", 3, 1}, {"{panicThreshold: 20}", 4, 4}, {"{panicThreshold: 60}", 2, 4}, {"{panicThreshold: 50}", 2, 2}, {"{panicThreshold: 0}", 4, 0},
		{"{algorithm: RingHash, panicThreshold: 20" + hash + "}", 3, 1}, {"{algorithm: Maglev" + hash + "}", 3, 4},
		{"{algorithm: ClientSideWeighted, panicThreshold: 20}", 3, 1},
	} {
		b.ill = c.ill
		b.change(c.section)
		b.move(b.backends...)
		all := b.shares(40)
		if delete(all, ""); len(all) != c.used {
			t.Errorf("%s, %d of 4 ill: %v", c.section, c.ill, all)
		}
	}
	b.ill = 4
	b.move(b.backends...)
	b.change("{panicThreshold: 0}")
	if r, _ := b.send(t, "GET", "/"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("none is healthy: %d", r.StatusCode)
	}
}

// TestSlowStart: a newcomer gets less at first, and in the end as much as the others.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RoundRobin", "LeastRequest", "ClientSideWeighted"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			const window = 20 * time.Second
			b := startBalancer(t, mesh.HTTP1, "{algorithm: "+algorithm+", slowStart: {window: 20s, minimumShare: 5}}", numbered(t, 4, nil)...)
			b.move(b.backends[:3]...)
			time.Sleep(window) // so that they are not new
			b.move(b.backends...)
			began := time.Now()
			first := b.shares(120)
			took := time.Since(began)
			if got := first["3"]; took > window/4 {
				t.Logf("too slow a machine to judge: 120 requests took %s", took)
			} else if got > 12 {
				t.Errorf("a newcomer gets %d of 120 requests in its first %s", got, took)
			}
			time.Sleep(time.Until(began.Add(window + 2*time.Second)))
			b.shares(60) // its turn is still where its small share put it
			last := b.shares(120)
			if got := last["3"]; got < 20 {
				t.Errorf("after the window it gets %d of 120 requests", got)
			}
			t.Logf("first %v in %s, then %v", first, took, last)
		})
	}
}

// TestClientSideWeighted: backends that say they are busier get less.
func TestClientSideWeighted(t *testing.T) {
	t.Parallel()
	b := startBalancer(t, mesh.HTTP1, "{algorithm: ClientSideWeighted, clientSideWeighted: {blackout: 0s, update: 100ms}}", numbered(t, 2, func(backend int, w http.ResponseWriter) {
		load := []string{"0.2", "0.8"}[backend]
		w.Header().Set("Endpoint-Load-Metrics", `JSON {"cpu_utilization": `+load+`, "rps_fractional": 100, "named_metrics": {"queue": 0.5}}`)
	})...)
	b.shares(20) // they report
	time.Sleep(500 * time.Millisecond)
	if all := b.shares(200); all["0"] < 140 || all["0"] > 180 {
		t.Errorf("at loads of 0.2 and 0.8: %v; want 160 and 40", all)
	}
	b.change("{algorithm: ClientSideWeighted, clientSideWeighted: {blackout: 0s, update: 100ms, metrics: [named_metrics.queue]}}")
	b.shares(20)
	time.Sleep(500 * time.Millisecond)
	if all := b.shares(200); all["0"] < 90 || all["0"] > 110 {
		t.Errorf("with the same queue: %v", all)
	}
}
