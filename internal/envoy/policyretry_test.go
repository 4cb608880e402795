package envoy_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// underPolicies is a virtual host whose rules have what MeshPolicies say of them, by the rules' names: a spec in
// YAML. As in the core, a rule sends by clusters that leave retries to it if a section does so.
func underPolicies(t *testing.T, specs map[string]string, text string) []mesh.VirtualHost {
	t.Helper()
	out := host(t, text)
	for i := range out[0].Rules {
		r := &out[0].Rules[i]
		r.Policies = decided(t, specs[r.RuleName])
		for _, d := range r.Policies {
			section, _ := policy.ByName(d.Section)
			for j, b := range r.Backends {
				if section.OwnRetries(d) && !strings.HasSuffix(b.Cluster, "/own-retries") {
					r.Backends[j].Cluster = mesh.OwnRetries(b.Cluster)
				}
			}
		}
	}
	return out
}

// decided is what a spec says in all of its sections.
func decided(t *testing.T, text string) (out []room.Decided) {
	t.Helper()
	spec := &v1alpha1.MeshPolicySpec{}
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, r := range policy.All {
		if r.Has(spec) {
			out = append(out, r.Decide([]room.Entry{{Policy: "shop/policy", Spec: spec}}))
		}
	}
	return out
}

// tally is an app that counts what it is asked, by path.
type tally struct {
	mu    sync.Mutex
	asked map[string]int
}

func (c *tally) ask(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = map[string]int{}
	}
	c.asked[path]++
	return c.asked[path]
}

func (c *tally) was(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[path]
}

// failing is an app that fails in the way that the path names; the path /third every third time.
func failing(c *tally) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client has gone
		kind := strings.Split(r.URL.Path, "/")[1]
		switch n := c.ask(r.URL.Path); {
		case kind == "third" && n%3 == 0, kind == "unavailable":
			w.WriteHeader(http.StatusServiceUnavailable)
		case kind == "internal":
			w.WriteHeader(http.StatusInternalServerError)
		case kind == "asks":
			w.Header().Set("X-Again", "now")
		case kind == "grpc":
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "14")
		case kind == "slow" && n == 1:
			<-r.Context().Done()
		}
	}
}

// TestRetryPolicy: what a policy names is retried, as often as it says, and nothing else.
func TestRetryPolicy(t *testing.T) {
	t.Parallel()
	var app tally
	specs := map[string]string{
		"default": "retry: {}", "twice": "retry: {attempts: 2, conditions: [5xx]}", "zero": "retry: {attempts: 0}",
		"codes": "retry: {attempts: 1, codes: [500]}", "headers": "retry: {attempts: 1, headers: [{name: X-Again, value: now}]}",
		"others": "retry: {attempts: 1, headers: [{name: X-Again, value: later}]}",
		"grpc":   "retry: {attempts: 1, grpcCodes: [UNAVAILABLE]}", "tries": "retry: {attempts: 1, codes: [500], perTryTimeout: 300ms}",
		"own": "retry: {attempts: 5, conditions: [5xx]}",
	}
	text := ""
	for name := range specs {
		text += "- name: " + name + "\n  matches: [{headers: [{name: rule, value: " + name + "}]}]\n  backendRefs: [{name: app}]\n"
		if name == "own" {
			text += "  retry: {attempts: 1, codes: [503]}\n"
		}
	}
	proxy := world{endpoints: map[string][]mesh.Endpoint{"app": serve(t, failing(&app))}, hosts: underPolicies(t, specs, text)}.start(t)
	for i, c := range []struct {
		rule, kind    string
		status, asked int
	}{
		{"default", "unavailable", 503, 4}, {"default", "internal", 500, 1}, {"default", "grpc", 200, 4}, {"default", "asks", 200, 1},
		{"twice", "unavailable", 503, 3}, {"twice", "internal", 500, 3}, {"twice", "grpc", 200, 1},
		{"zero", "unavailable", 503, 1}, {"zero", "internal", 500, 1},
		{"codes", "internal", 500, 2}, {"codes", "unavailable", 503, 1},
		{"headers", "asks", 200, 2}, {"headers", "internal", 500, 1}, {"others", "asks", 200, 1},
		{"grpc", "grpc", 200, 2}, {"grpc", "unavailable", 503, 1},
		{"tries", "slow", 200, 2}, {"tries", "internal", 500, 2},
		{"own", "unavailable", 503, 2}, {"own", "internal", 500, 1},
	} {
		path := "/" + c.kind + "/" + c.rule + "/" + string(rune('a'+i))
		if response, _ := proxy.send(t, "GET", path, "rule", c.rule); response.StatusCode != c.status || app.was(path) != c.asked {
			t.Errorf("%s of %s: %d after %d requests; want %d after %d", c.rule, c.kind, response.StatusCode, app.was(path), c.status, c.asked)
		}
	}
	failed := map[string]int{}
	for range 60 {
		for _, rule := range []string{"default", "zero"} {
			if response, _ := proxy.send(t, "POST", "/third/"+rule, "rule", rule); response.StatusCode != 200 {
				failed[rule]++
			}
		}
	}
	if failed["default"] != 0 || failed["zero"] != 20 {
		t.Errorf("of an app that fails every third time 60 requests see %v failures; want 20 without retries, and none with them", failed)
	}
	for size, asked := range map[int]int{100 << 10: 4, 1 << 20: 1} {
		path := "/unavailable/size/" + strings.Repeat("x", size>>10)
		request, err := http.NewRequest("POST", proxy.url+path, bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("rule", "default")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if app.was(path) != asked {
			t.Errorf("a request of %d bytes is sent %d times; want %d", size, app.was(path), asked)
		}
	}
}

// TestRetryPolicyOfResets: an app that breaks off is asked again where that is said, also behind its proxy,
// which answers 503 in its stead; and what no app has seen is retried whatever is said.
func TestRetryPolicyOfResets(t *testing.T) {
	t.Parallel()
	var bare, behind atomic.Int32
	alive := echoes(t, "a")["a"]
	proxy := world{endpoints: map[string][]mesh.Endpoint{
		"bare": {dies(t, &bare)}, "behind": {beside(t, dies(t, &behind))}, "half": append([]mesh.Endpoint{closedPort(t)}, alive...),
	}, hosts: underPolicies(t, map[string]string{
		"resets": "retry: {attempts: 2, conditions: [reset]}", "codes": "retry: {attempts: 2, codes: [500]}", "off": "retry: {attempts: 0}",
		"resets behind": "retry: {attempts: 2, conditions: [reset]}", "codes behind": "retry: {attempts: 2, codes: [500]}",
		"half off": "retry: {attempts: 0}", "half codes": "retry: {codes: [500]}", "half hedged": "hedging: {delay: 10s, requests: 2}",
	}, `
- {name: resets, matches: [{path: {value: /resets}}], backendRefs: [{name: bare}]}
- {name: codes, matches: [{path: {value: /codes}}], backendRefs: [{name: bare}]}
- {name: "off", matches: [{path: {value: /off}}], backendRefs: [{name: bare}]}
- {name: resets behind, matches: [{path: {value: /behind/resets}}], backendRefs: [{name: behind}]}
- {name: codes behind, matches: [{path: {value: /behind/codes}}], backendRefs: [{name: behind}]}
- {name: half off, matches: [{path: {value: /half/off}}], backendRefs: [{name: half}]}
- {name: half codes, matches: [{path: {value: /half/codes}}], backendRefs: [{name: half}]}
- {name: half hedged, matches: [{path: {value: /half/hedged}}], backendRefs: [{name: half}]}
`)}.start(t)
	for path, want := range map[string]int32{"/resets": 3, "/codes": 1, "/off": 1, "/behind/resets": 3, "/behind/codes": 1} {
		bare.Store(0)
		behind.Store(0)
		response, _ := proxy.send(t, "POST", path)
		if response.StatusCode != 503 || response.Header.Get("X-Weft-Unsent") != "" || bare.Load()+behind.Load() != want {
			t.Errorf("%s: %d %v after %d requests; want %d", path, response.StatusCode, response.Header, bare.Load()+behind.Load(), want)
		}
	}
	for _, path := range []string{"/half/off", "/half/codes", "/half/hedged"} {
		for range 30 {
			if response, _ := proxy.send(t, "POST", path); response.StatusCode != 200 {
				t.Fatalf("%s: a request that no app has seen is answered %d", path, response.StatusCode)
			}
		}
	}
}

// TestRetryOfOtherPods: where one of two pods fails, a retry goes to the other one, unless any may be asked.
func TestRetryOfOtherPods(t *testing.T) {
	t.Parallel()
	bad := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	proxy := world{endpoints: map[string][]mesh.Endpoint{"app": append(bad, echoes(t, "good")["good"]...)}, hosts: underPolicies(t, map[string]string{
		"others": "retry: {attempts: 1}", "any": "retry: {attempts: 1, pods: Any}",
	}, `
- {name: others, matches: [{path: {value: /others}}], backendRefs: [{name: app}]}
- {name: any, matches: [{path: {value: /any}}], backendRefs: [{name: app}]}
`)}.start(t)
	failed := map[string]int{}
	const requests = 200
	for range requests {
		for _, path := range []string{"/others", "/any"} {
			if response, _ := proxy.send(t, "GET", path); response.StatusCode != 200 {
				failed[path]++
			}
		}
	}
	t.Logf("of %d requests that have one retry fail %v", requests, failed)
	if failed["/others"] > requests/20 || failed["/any"] < requests/10 {
		t.Errorf("of %d requests that have one retry fail %v", requests, failed)
	}
}

// TestHedgingPolicy: one of two pods is slow. With hedging no request is, and no more is sent than it says.
func TestHedgingPolicy(t *testing.T) {
	t.Parallel()
	var slow tally
	const pause = 2 * time.Second
	lame := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		slow.ask(r.URL.Path)
		select {
		case <-r.Context().Done():
		case <-time.After(pause):
		}
	})
	const hedged = "hedging: {delay: 100ms}"
	proxy := world{endpoints: map[string][]mesh.Endpoint{"app": append(echoes(t, "fast")["fast"], lame...), "slow": lame}, hosts: underPolicies(t, map[string]string{
		"hedged": hedged, "once more": hedged, "twice more": "hedging: {delay: 100ms, requests: 2}", "own": hedged,
	}, `
- {name: hedged, matches: [{path: {value: /hedged}}], backendRefs: [{name: app}]}
- {name: plain, matches: [{path: {value: /plain}}], backendRefs: [{name: app}]}
- {name: once more, matches: [{path: {value: /slow/1}}], backendRefs: [{name: slow}]}
- {name: twice more, matches: [{path: {value: /slow/2}}], backendRefs: [{name: slow}]}
- {name: own, matches: [{path: {value: /slow/0}}], backendRefs: [{name: slow}], timeouts: {backendRequest: 500ms}}
`)}.start(t)
	slowest := func(path string, n int) (worst time.Duration) {
		for range n {
			began := time.Now()
			if response, _ := proxy.send(t, "GET", path); response.StatusCode != 200 {
				t.Fatalf("%s: %d", path, response.StatusCode)
			}
			worst = max(worst, time.Since(began))
		}
		return worst
	}
	if took := slowest("/hedged", 30); took > pause/2 || slow.was("/hedged") == 0 {
		t.Errorf("hedged, the slowest of 30 requests took %s; the slow pod was asked %d times", took, slow.was("/hedged"))
	}
	if took := slowest("/plain", 10); took < pause {
		t.Errorf("not hedged, the slowest of 10 took %s: nothing was shown", took)
	}
	for path, asked := range map[string]int{"/slow/1": 2, "/slow/2": 3} {
		if slowest(path, 1); slow.was(path) != asked {
			t.Errorf("%s: sent %d times; want %d", path, slow.was(path), asked)
		}
	}
	if response, _ := proxy.send(t, "GET", "/slow/0"); response.StatusCode != 504 || slow.was("/slow/0") != 1 {
		t.Errorf("a rule that says how long an attempt may take: %d after %d requests; want 504 after one", response.StatusCode, slow.was("/slow/0"))
	}
}
