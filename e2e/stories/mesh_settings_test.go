package stories

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// setting is what a policy about a Service of five pods may say, and what its caller sees then.
type setting struct {
	moods map[int]string // of pods, by their numbers
	says  string
	port  int // that it is about; 0: all
	shows func(f *five) error
	front bool // it shows to who calls by a Gateway too
}

// ill are the moods of all five.
func ill(mood string) map[int]string {
	return map[int]string{0: mood, 1: mood, 2: mood, 3: mood, 4: mood}
}

// settings are those that no other story tells of.
var settings = []setting{
	{says: "loadBalancing: {algorithm: Maglev, hash: [{type: Cookie, name: user}]}", shows: func(f *five) error {
		return f.keyed(func(key string) call.Request { return f.web("/", "Cookie", "user="+key) })
	}, front: true},
	{says: "loadBalancing: {algorithm: RingHash, hash: [{type: QueryParameter, name: user}]}", shows: func(f *five) error {
		return f.keyed(func(key string) call.Request { return f.web("/?user=" + key) })
	}, front: true},
	{says: "loadBalancing: {algorithm: Maglev, hash: [{type: Cookie, name: made, ttl: 1h}]}", shows: (*five).cookieIsMade, front: true},
	{says: "loadBalancing: {algorithm: RingHash, hash: [{type: SourceIP}]}", shows: func(f *five) error { return f.onePod(f.web("/")) }},
	{says: "loadBalancing: {algorithm: Maglev, hash: [{type: SourceIP}]}", port: 9000, shows: func(f *five) error { return f.onePod(f.bytes()) }},
	{moods: map[int]string{0: "delay=1s"}, says: "loadBalancing: {algorithm: LeastRequest}", shows: func(f *five) error {
		return between("of 100 calls, five at once, the slow pod's", shares(f.atOnce(5, 20, f.web("/")))[f.pods[0].Name], 0, 10)
	}},
	{moods: ill("status=500"), says: "loadBalancing: {panicThreshold: 0}\n  healthCheck: {http: {path: /well}, interval: 500ms}", shows: func(f *five) error {
		return all(f.from.Calls(20, f.web("/")), func(o call.Outcome) bool { return o.Status == 503 && pod(o) == "" })
	}, front: true},
	{moods: ill("status=500"), says: "loadBalancing: {panicThreshold: 50}\n  healthCheck: {http: {path: /well}, interval: 500ms}", shows: func(f *five) error {
		return all(f.from.Calls(20, f.web("/")), func(o call.Outcome) bool { return o.Status == 500 && pod(o) != "" })
	}, front: true},
	{moods: map[int]string{0: "status=500", 1: "status=503"}, says: "outlierDetection: {consecutive5xx: 0, consecutiveGatewayErrors: 3, " + soon + "}", shows: func(f *five) error {
		return f.without(1, 0)
	}, front: true},
	{moods: map[int]string{0: "status=500"}, says: "outlierDetection: {consecutive5xx: 0, failurePercentage: {threshold: 50, minimumRequests: 5}, " + soon + "}", shows: func(f *five) error {
		return f.without(0)
	}, front: true},
	{moods: map[int]string{0: "status=500"}, says: "outlierDetection: {consecutive5xx: 0, successRate: {deviations: 1000, minimumRequests: 5}, " + soon + "}", shows: func(f *five) error {
		return f.without(0)
	}},
	{moods: ill("status=500"), says: "outlierDetection: {maxEjectionPercent: 40, " + soon + "}", shows: func(f *five) error {
		return between("pods that are sent to, of five that are ill,", len(shares(f.from.Calls(100, f.web("/")))), 3, 3)
	}, front: true},
	{moods: map[int]string{0: "code=14"}, says: "outlierDetection: {consecutive5xx: 3, " + soon + "}", shows: func(f *five) error { return well(f.from.Calls(60, f.grpc())) }},
	{moods: map[int]string{0: "code=8"}, says: "retry: {attempts: 2, grpcCodes: [RESOURCE_EXHAUSTED], backoff: {base: 5ms}}", shows: func(f *five) error {
		return well(f.from.Calls(60, f.grpc()))
	}},
	{moods: map[int]string{0: "status=500"}, says: "retry: {attempts: 2, codes: [500], backoff: {base: 5ms}}", shows: func(f *five) error {
		return well(f.from.Calls(60, f.web("/")))
	}, front: true},
	{says: "retry: {attempts: 2, headers: [{name: x-again}], backoff: {base: 5ms}}", shows: func(f *five) error {
		return f.asked(3, "Answer-With", "x-again: yes")
	}, front: true},
	{says: "retry: {attempts: 2, perTryTimeout: 200ms, backoff: {base: 5ms}}", shows: func(f *five) error {
		return all(f.from.Calls(40, f.web("/lame/"+f.pods[0].Name)), func(o call.Outcome) bool { return o.Err() == nil && o.Took < time.Second })
	}, front: true},
	{moods: ill("delay=5s"), says: "timeout: {request: 500ms, idle: 1h}", shows: func(f *five) error {
		return all(f.from.Calls(2, f.web("/")), func(o call.Outcome) bool { return o.Status == 504 && o.Took < 3*time.Second })
	}, front: true},
	{moods: ill("delay=5s"), says: "timeout: {request: 500ms}", shows: func(f *five) error {
		return all(f.from.Calls(2, f.grpc()), func(o call.Outcome) bool { return o.Failed != "" && o.Took < 3*time.Second })
	}},
	{moods: ill("delay=3s"), says: "circuitBreaker: {maxConnections: 2}", port: 9000, shows: func(f *five) error {
		return between("connections that fail, of three at once,", failedOf(f.atOnce(3, 1, f.bytes())), 1, 1)
	}},
	{moods: ill("delay=3s"), says: "circuitBreaker: {maxRequests: 2, maxPendingRequests: 9}", shows: func(f *five) error {
		return between("calls that fail, of three at once,", failedOf(f.atOnce(3, 1, f.web("/"))), 1, 1)
	}, front: true},
	{moods: ill("delay=3s"), says: "circuitBreaker: {maxRequests: 2}", port: 90, shows: func(f *five) error {
		return between("gRPC calls that fail, of three at once,", failedOf(f.atOnce(3, 1, f.grpc())), 1, 1)
	}},
	{says: "rateLimit: {local: {limits: [{requests: 3, per: 1h, by: [{type: Path}]}]}}", shows: (*five).limited},
	{says: "rateLimit: {local: {limits: [{requests: 3, per: 1h, by: [{type: Method}, {type: Path}]}]}}", shows: func(f *five) error {
		return between("calls that fail, of five,", failedOf(f.from.Calls(5, f.web("/"+word("limited")))), 2, 2)
	}, front: true},
	{says: "rateLimit: {global: {limits: [{requests: 3, per: 1h, by: [{type: Caller}, {type: Path}]}]}}", shows: func(f *five) error {
		path := "/" + word("limited")
		return between("calls that fail, of four by each of two callers,", failedOf(slices.Concat(f.from.Calls(4, f.web(path)), f.other.Calls(4, f.web(path)))), 2, 2)
	}},
	{says: `fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}}`, shows: func(f *five) error {
		return all(f.from.Calls(5, f.web("/")), func(o call.Outcome) bool { return o.Status == 418 })
	}, front: true},
	{says: `fault: {until: "2090-01-01T00:00:00Z", abort: {grpcStatus: 14}}`, shows: func(f *five) error {
		return all(f.from.Calls(5, f.grpc()), func(o call.Outcome) bool { return strings.Contains(o.Failed, "Unavailable") })
	}},
}

// soon has a pod that is well again be sent to again.
const soon = "interval: 1s, baseEjectionTime: 3s, maxEjectionTime: 3s"

// five is a Service of five pods, and two who call it.
type five struct {
	*stage.Scene
	t           *testing.T
	from, other *stage.Caller
	pods        []corev1.Pod
	front       string // the address of the Gateway by which it is called; empty: by none
}

// TestSettings: what a caller sees of each setting of a policy that no other story tells of, from a pod and by a
// Gateway, and of the level on which a policy says it; what means nothing to a port of bytes is said to mean nothing.
func TestSettings(t *testing.T) {
	stage.Parallel(t)
	s, from, request := fleet(t, "settings")
	caller(t, s, "other", false)
	s.Apply(oneProxy + routeTo("app"))
	f := &five{Scene: s, t: t, from: from, other: s.Caller("other"), pods: s.Pods("app")}
	known(s, f.other, request, 5)
	for _, c := range settings {
		f.plays(c)
	}
	f.meaningless()
	f.levels()
	byFront := *f
	byFront.front = s.Gateway("front").At(80)
	known(s, from, byFront.web("/"), 5)
	for _, c := range settings {
		if c.front {
			byFront.plays(c)
		}
	}
	f.newcomer()
}

// plays has pods be in their moods while a policy says something, and waits until it shows.
func (f *five) plays(c setting) {
	f.t.Helper()
	for i, mood := range c.moods {
		f.mood(i, mood)
	}
	f.says("setting", c.port, c.says)
	f.Holds("setting")
	f.Until(40*time.Second, c.says, func(context.Context) error { return c.shows(f) })
	f.Step("%s%s", c.says, map[bool]string{true: ", by a Gateway"}[f.front != ""])
	for i := range c.moods {
		f.mood(i, "")
	}
	f.Remove(policy("setting", "", ""))
}

// says applies a policy about the Service, or one of its ports; where it is called by a Gateway, what is said of requests
// is of that.
func (f *five) says(name string, port int, says string) {
	section, _, _ := strings.Cut(says, ":")
	target := "kind: Service, name: app"
	switch {
	case f.front != "" && slices.Contains([]string{"retry", "timeout", "rateLimit", "fault"}, section):
		target = "kind: Gateway, name: front"
	case port != 0:
		target += fmt.Sprintf(", port: %d", port)
	}
	f.Apply(policy(name, target, says))
}

func (f *five) mood(i int, mood string) {
	f.from.Answered(call.Request{Protocol: call.HTTP, Address: at(f.pods[i].Status.PodIP, 8080), Path: "/mood?" + mood}, nil)
}

func (f *five) web(path string, header ...string) call.Request {
	r := call.Request{Protocol: call.HTTP, Address: cmp.Or(f.front, at("app", 80)), Path: path}
	if len(header) == 2 {
		r.Headers = map[string]string{header[0]: header[1]}
	}
	return r
}

func (f *five) grpc() call.Request {
	return call.Request{Protocol: call.GRPC, Address: at("app", 90), Text: "hello"}
}
func (f *five) bytes() call.Request {
	return call.Request{Protocol: call.TCP, Address: at("app", 9000), Text: "hello"}
}

// atOnce has so many make n calls each, one after the other.
func (f *five) atOnce(many, n int, r call.Request) (out []call.Outcome) {
	made := make(chan []call.Outcome, many)
	for range many {
		go func() { made <- f.from.Calls(n, r) }()
	}
	for range many {
		out = append(out, <-made...)
	}
	return out
}

// pod is that of an answer, whatever its status.
func pod(o call.Outcome) string {
	a := o.Answer
	if a.Pod == "" {
		_ = json.Unmarshal([]byte(o.Body), &a) // what is no answer of the app names no pod
	}
	return a.Pod
}

// shares are how many calls each pod answered, however.
func shares(all []call.Outcome) map[string]int {
	out := map[string]int{}
	for _, o := range all {
		if name := pod(o); name != "" {
			out[name]++
		}
	}
	return out
}

func all(outcomes []call.Outcome, good func(call.Outcome) bool) error {
	for _, o := range outcomes {
		if !good(o) {
			return fmt.Errorf("one of %d: status %d %s after %s by %q", len(outcomes), o.Status, o.Failed, o.Took, pod(o))
		}
	}
	return nil
}

func well(outcomes []call.Outcome) error {
	return all(outcomes, func(o call.Outcome) bool { return o.Err() == nil })
}

func between(what string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%s are %d, want %d to %d", what, n, least, most)
	}
	return nil
}

// onePod wants all calls to be answered by one.
func (f *five) onePod(r call.Request) error {
	outcomes := f.from.Calls(20, r)
	if by := shares(outcomes); len(by) != 1 {
		return fmt.Errorf("answered by %v", by)
	}
	return well(outcomes)
}

// keyed wants each of some keys to be answered by one pod, and not all by the same.
func (f *five) keyed(request func(key string) call.Request) error {
	pods := map[string]bool{}
	for i := range 8 {
		r := request(fmt.Sprint("user-", i))
		if err := f.onePod(r); err != nil {
			return err
		}
		pods[pod(f.from.Call(r))] = true
	}
	return between("pods of eight keys", len(pods), 2, 5)
}

// cookieIsMade wants a client to be given a cookie, and to stay by it where it was.
func (f *five) cookieIsMade() error {
	first := f.from.Call(f.web("/"))
	cookie, _, _ := strings.Cut(first.Header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(cookie, "made=") {
		return fmt.Errorf("status %d with cookie %q", first.Status, cookie)
	}
	if by := shares(f.from.Calls(20, f.web("/", "Cookie", cookie))); by[first.Answer.Pod] != 20 {
		return fmt.Errorf("%s gave the cookie; with it answered %v", first.Answer.Pod, by)
	}
	return nil
}

// without wants a pod not to be sent to, while another one is, whatever it answers.
func (f *five) without(out int, with ...int) error {
	by := shares(f.from.Calls(100, f.web("/")))
	if by[f.pods[out].Name] > 0 {
		return fmt.Errorf("it answered %d of %v", by[f.pods[out].Name], by)
	}
	for _, i := range with {
		if by[f.pods[i].Name] == 0 {
			return fmt.Errorf("pod %s answered none of %v", f.pods[i].Name, by)
		}
	}
	return nil
}

// asked wants the app to be asked so often for one call.
func (f *five) asked(times int, header ...string) error {
	path, n := "/"+word("asked"), 0
	f.from.Call(f.web(path, header...))
	for _, p := range f.Pods("app") {
		n += timesAsked(f.t, f.Scene, p, path)
	}
	return between("times that the app was asked", n, times, times)
}

// limited wants three of five calls to be let through, and those of another path, by gRPC too.
func (f *five) limited() error {
	path := "/" + word("limited")
	for _, r := range []call.Request{f.web(path), f.web(path + "/too")} {
		if err := between("calls that fail, of five,", failedOf(f.from.Calls(5, r)), 2, 2); err != nil {
			return err
		}
	}
	if n := failedOf(f.from.Calls(5, f.grpc())); n < 2 {
		return fmt.Errorf("of five calls by gRPC %d failed", n)
	}
	return nil
}

// meaningless has policies say of a port of bytes what means nothing there.
func (f *five) meaningless() {
	for _, says := range []string{
		"retry: {attempts: 2}", "hedging: {delay: 1s}", "timeout: {request: 1s}", "admissionControl: {}",
		"rateLimit: {local: {limits: [{requests: 3}]}}", "rateLimit: {global: {limits: [{requests: 3}]}}",
		`fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}}`, "loadBalancing: {algorithm: Maglev, hash: [{type: Header, name: x-user}]}",
		`extensions: [{name: marked, lua: {source: "function envoy_on_request(h) end"}}]`,
	} {
		f.says("bytes", 9000, says)
		f.PolicySays("bytes", "UnsupportedProtocol", "spec."+says[:strings.Index(says, ":")])
		f.Step("%s means nothing to a port of bytes", says)
	}
	f.Remove(policy("bytes", "", ""))
}

// levels has a namespace, the Service and a rule say how long a request may take: the nearest holds, and who is
// overridden says by whom.
func (f *five) levels() {
	ends := func(seconds int) {
		f.t.Helper()
		f.Until(30*time.Second, fmt.Sprintf("requests end after %d s", seconds), func(context.Context) error {
			o := f.from.Call(f.web("/wait"))
			return between(fmt.Sprintf("with status %d the tenths of a second", o.Status), int(o.Took/(100*time.Millisecond)), 10*seconds-1, 10*seconds+8)
		})
	}
	f.Apply(policy("all", "", "timeout: {request: 1s}"))
	ends(1)
	f.Apply(policy("own", "kind: Service, name: app", "timeout: {request: 2s}"))
	ends(2)
	f.Overridden("all", f.Namespace+"/own")
	f.Apply("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: app}\nspec:\n  parentRefs: [{group: \"\", kind: Service, name: app, port: 80}]\n" +
		"  rules: [{name: waits, backendRefs: [{name: app, port: 80}]}]\n")
	f.Apply(policy("nearest", "kind: HTTPRoute, name: app, sectionName: waits", "timeout: {request: 3s}"))
	ends(3)
	f.Overridden("own", f.Namespace+"/nearest")
	f.Remove(policy("nearest", "", ""))
	ends(2)
	f.Remove(policy("own", "", ""))
	ends(1)
	f.Remove(policy("all", "", ""))
}

// newcomer has a sixth pod begin with a small share, which grows.
func (f *five) newcomer() {
	const says = "loadBalancing: {algorithm: RoundRobin, slowStart: {window: 20s, minimumShare: 5}}"
	f.says("setting", 0, says)
	f.Holds("setting")
	must(f.t, scaleTo(f.t.Context(), f.Stage, f.Namespace, "app", 6))
	share := func() (n int) {
		for name, of := range shares(f.from.Calls(100, f.web("/"))) {
			if !slices.ContainsFunc(f.pods, func(p corev1.Pod) bool { return p.Name == name }) {
				n += of
			}
		}
		return n
	}
	first := 0
	f.Until(rollout, "a sixth pod gets something", func(context.Context) error {
		if first = share(); first == 0 {
			return errors.New("it gets nothing")
		}
		return nil
	})
	if first > 10 {
		f.t.Errorf("a pod that is new got %d of 100 requests at first, want less than its whole share of 17", first)
	}
	f.Until(time.Minute, "it gets its whole share", func(context.Context) error { return between("of 100 requests its", share(), 14, 20) })
	f.Step("%s: a pod that is new got %d of 100 requests at first, and its whole share in the end", says, first)
}
