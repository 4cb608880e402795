package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/admissioncontrol"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
	"github.com/weft-mesh/weft/internal/xds"
)

// everyAdmission has everything that can be said of one.
const everyAdmission = `{samplingWindow: 1m, successRateThreshold: 90, aggression: "1.5", requestsPerSecondThreshold: 20, maxRejectionPercent: 60, successCriteria: {httpStatuses: [{start: 200, end: 299}, {start: 404}], grpcStatuses: [0, 5]}}`

// admission reads spec.admissionControl as people write it.
func admission(t testing.TB, policy, text string) room.Decided {
	t.Helper()
	s := roomtest.Written[v1alpha1.AdmissionControl](t, text)
	return room.Decided{Section: admissioncontrol.Section.Name, Policy: policy, Says: s}
}

// hangs, told in the place of a status, has a sick app not answer at all.
const hangs = 0

// sick is an app that answers what it is told to, by path; 200 where it is told nothing.
type sick struct{ codes sync.Map }

func (s *sick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") == "application/grpc" {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", r.Header.Get("Want"))
		return
	}
	switch code, told := s.codes.Load(r.URL.Path); {
	case told && code == hangs:
		<-r.Context().Done()
	case told:
		w.WriteHeader(code.(int))
	}
}

// admitted is a Gateway to a sick app, where each path is a rule with a policy of its own.
type admitted struct {
	*gateway
	*sick
	store *xds.Store
	port  uint32
	says  map[string]string // by path
}

// listener has the filters that Routes share of some sections.
func (a admitted) listener(shared ...string) map[string]proto.Message {
	return map[string]proto.Message{limitedRoutes: envoy.Listener(mesh.Listener{Name: limitedRoutes, Port: a.port,
		Chains: []mesh.Chain{{Name: "http", Routes: limitedRoutes, Shared: shared}}})}
}

func startAdmitted(t *testing.T, says map[string]string) admitted {
	t.Helper()
	p, store, ports := served(t, 4)
	a := admitted{sick: &sick{}, store: store, port: ports[3], says: says}
	commit(store, a.listener(admissioncontrol.Section.Name), map[string]proto.Message{
		limitedBackend: envoy.Cluster(mesh.Cluster{Name: limitedBackend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		limitedRoutes:  envoy.RouteConfiguration(limitedRoutes),
		limitedBackend: envoy.Endpoints(mesh.Endpoints{Cluster: limitedBackend, Addresses: serve(t, a.ServeHTTP)}),
	}, a.filter(t), a.host(t, "first"))
	a.gateway = run(t, bootstrap(t, p), 0)
	a.url, a.stats = fmt.Sprintf("http://127.0.0.1:%d", ports[3]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", ports[1])+envoy.ReadyPath) == 200 })
	return a
}

// hosts has a rule for each path, with two matches; comes is a header that answers have.
func (a admitted) hosts(t *testing.T, comes string) mesh.VirtualHost {
	t.Helper()
	var text strings.Builder
	var all []room.Decided
	for path, says := range a.says {
		fmt.Fprintf(&text, "- {name: %s, matches: [{path: {value: /%s}}, {path: {value: /as/%s}}], backendRefs: [{name: %s}], filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: comes, value: %s}]}}]}\n",
			path, path, path, limitedBackend, comes)
		all = append(all, admission(t, "shop/"+path, says))
	}
	v := virtualHost(t, limitedRoutes, "shop.test", text.String())
	for i, d := range all {
		v.Rules[i].Policies = []room.Decided{d}
	}
	return v
}

func (a admitted) host(t *testing.T, comes string) map[string]proto.Message {
	t.Helper()
	v := a.hosts(t, comes)
	return map[string]proto.Message{v.Name(): envoy.VirtualHost(v)}
}

// filter is the one that the rules share.
func (a admitted) filter(t *testing.T) map[string]proto.Message {
	t.Helper()
	v := a.hosts(t, "")
	name := v.Shared(admissioncontrol.Section.Name)
	return map[string]proto.Message{name: sharedAdmission(name, v.Rules)}
}

// TestAdmissionControlComesAndGoes: while the first of a port comes and goes again with its filter, no request to
// what is well fails.
func TestAdmissionControlComesAndGoes(t *testing.T) {
	t.Parallel()
	const long = `{samplingWindow: 10m, requestsPerSecondThreshold: 0}`
	a := startAdmitted(t, map[string]string{"pay": long, "cart": long})
	a.codes.Store("/pay", 500)
	well := *a.gateway
	well.url += "/cart"
	ended := well.keepAskingAt(t, "shop.test")
	for n := range 6 {
		before := ended()
		if n%2 == 0 {
			commit(a.store, a.listener(), map[string]proto.Message{mesh.SharedName(admissioncontrol.Section.Name, limitedRoutes): (*corev3.TypedExtensionConfig)(nil)})
			eventually(t, "the filter is gone", func() bool { return a.asks(t, 30, "/pay")[503] == 0 })
		} else {
			commit(a.store, a.listener(admissioncontrol.Section.Name), a.filter(t))
			eventually(t, "the filter is there", func() bool { return a.asks(t, 30, "/pay")[503] > 0 })
		}
		eventually(t, "requests end", func() bool { return ended() >= before+20 })
	}
}

func sharedAdmission(name string, rules []mesh.Rule) *corev3.TypedExtensionConfig {
	shared := mesh.Shared{Name: name, Section: admissioncontrol.Section.Name, Port: room.Port{Gateway: true}}
	for _, r := range rules {
		for _, d := range r.Policies {
			d.Rule = r.RuleID()
			shared.Says = append(shared.Says, d)
		}
	}
	return envoy.Shared(shared)
}

// admittedRules have everything that can be said of one, little, and that nothing is turned away.
func admittedRules(t testing.TB) []mesh.Rule {
	all := rules(t, `
- {name: pay, matches: [{path: {value: /pay}}, {path: {value: /buy}}], backendRefs: [{name: service/shop/cart/80/h2}]}
- {name: list, matches: [{path: {value: /list}}], backendRefs: [{name: service/shop/cart/80/h2}]}
- {name: free, matches: [{path: {value: /free}}], backendRefs: [{name: service/shop/cart/80/h2}]}
- {name: moved, matches: [{path: {value: /moved}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.test}}]}
`)
	for i, says := range []string{everyAdmission, `{}`, `{disabled: true}`} {
		all[i].Policies = []room.Decided{admission(t, "shop/admission", says)}
	}
	all[3].Policies = all[1].Policies
	return all
}

// asks sends some requests, and tells how many of them were answered what.
func (a admitted) asks(t *testing.T, n int, path string, headers ...string) map[int]int {
	t.Helper()
	codes := map[int]int{}
	for range n {
		response, _ := a.send(t, "POST", path, append(headers, "Host", "shop.test")...)
		codes[response.StatusCode]++
	}
	return codes
}

// TestAdmissionControl: an app that fails for one rule is sent less of that rule's requests, and of no other's; when
// it is well again, all that come.
func TestAdmissionControl(t *testing.T) {
	t.Parallel()
	const soon = `{samplingWindow: 2s, requestsPerSecondThreshold: 0}`
	a := startAdmitted(t, map[string]string{"pay": soon, "cart": soon})
	if codes := a.asks(t, 100, "/pay"); codes[200] != 100 {
		t.Errorf("while all is well: %v", codes)
	}
	a.codes.Store("/pay", 500)
	turned := 0
	eventually(t, "requests are turned away", func() bool {
		turned += a.asks(t, 50, "/pay")[503]
		return turned > 100
	})
	if codes := a.asks(t, 100, "/cart"); codes[200] != 100 {
		t.Errorf("of another rule: %v", codes)
	}
	eventually(t, "what is turned away is counted by policy", func() bool {
		return strings.Contains(string(fetch(t, a.stats+"/stats/prometheus", "identity")), fmt.Sprintf(`weft_admission_rejected_total{reporter="source",policy="shop/pay"} %d`, turned))
	})
	eventually(t, "the log tells why", func() bool {
		return tells(a.log.String(), map[string]any{"path": "/pay", "details": admissioncontrol.Details})
	})
	a.codes.Delete("/pay")
	eventually(t, "none is turned away", func() bool { return a.asks(t, 50, "/pay")[200] == 50 })
}

// TestWhatAdmissionControlCounts: which answers are failures, and what else has requests let through.
func TestWhatAdmissionControlCounts(t *testing.T) {
	t.Parallel()
	a := startAdmitted(t, map[string]string{
		"usual":    `{requestsPerSecondThreshold: 0}`,
		"failing":  `{requestsPerSecondThreshold: 0}`,
		"missing":  `{requestsPerSecondThreshold: 0, successCriteria: {httpStatuses: [{start: 200, end: 299}, {start: 500}]}}`,
		"grpc":     `{requestsPerSecondThreshold: 0, successCriteria: {grpcStatuses: [0, 14]}}`,
		"disabled": `{disabled: true}`,
		"rare":     `{requestsPerSecondThreshold: 1000000}`,
		"low":      `{requestsPerSecondThreshold: 0, successRateThreshold: 1}`,
	})
	for _, c := range []struct {
		path, grpc string
		code       int
		turned     bool
	}{
		{"usual", "", 404, false}, {"usual", "", 429, false}, {"failing", "", 500, true},
		{"missing", "", 500, false}, {"missing", "", 404, true},
		{"disabled", "", 500, false}, {"rare", "", 500, false},
		{"low", "", 200, false}, {"low", "", 500, false}, // of a hundred requests one that succeeds is enough
		{"grpc", "14", 200, false}, {"grpc", "5", 200, true},
	} {
		a.codes.Store("/"+c.path, c.code)
		turned := 0
		for range 50 {
			headers := []string{"Host", "shop.test"}
			if c.grpc != "" {
				headers = append(headers, "Content-Type", "application/grpc", "Want", c.grpc)
			}
			response, _ := a.send(t, "POST", "/"+c.path, headers...)
			if c.grpc == "" && response.StatusCode != c.code || response.Header.Get("Grpc-Status") != c.grpc {
				turned++
			}
		}
		if (turned > 0) != c.turned {
			t.Errorf("%s that answers %d %s: %d of 50 were turned away", c.path, c.code, c.grpc, turned)
		}
	}
}

// TestAdmissionControlOfThoseWhoLeave: a request whose client leaves before the answer is not counted.
func TestAdmissionControlOfThoseWhoLeave(t *testing.T) {
	t.Parallel()
	a := startAdmitted(t, map[string]string{"slow": `{samplingWindow: 10m, requestsPerSecondThreshold: 0}`})
	a.codes.Store("/slow", hangs)
	for range 20 {
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
		request, err := http.NewRequestWithContext(ctx, "POST", a.url+"/slow", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "shop.test"
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			t.Errorf("what hangs is answered %d", response.StatusCode)
		}
		leave()
	}
	a.codes.Delete("/slow")
	if codes := a.asks(t, 50, "/slow"); codes[200] != 50 {
		t.Errorf("after clients left: %v", codes)
	}
}

// TestAdmissionControlOfTimeouts: a request that a timeout ends is a failure, so that an app that hangs is found.
func TestAdmissionControlOfTimeouts(t *testing.T) {
	t.Parallel()
	a := startAdmitted(t, map[string]string{"hangs": `{samplingWindow: 10m, requestsPerSecondThreshold: 0}`})
	v := a.hosts(t, "in time")
	for i := range v.Rules {
		v.Rules[i].Timeouts = &gwv1.HTTPRouteTimeouts{Request: new(gwv1.Duration("20ms"))}
	}
	commit(a.store, map[string]proto.Message{v.Name(): envoy.VirtualHost(v)})
	eventually(t, "the rule has a timeout", func() bool {
		response, _ := a.send(t, "POST", "/hangs", "Host", "shop.test")
		return response.Header.Get("comes") == "in time"
	})
	a.codes.Store("/hangs", hangs)
	codes := a.asks(t, 60, "/hangs")
	if codes[504] == 0 || codes[503] == 0 || codes[503]+codes[504] != 60 {
		t.Errorf("of an app that hangs: %v", codes)
	}
}

// TestAdmissionControlOutlivesRoutes: what was counted stays so when routes change, the rule's own too. When a
// rule comes, it is forgotten.
func TestAdmissionControlOutlivesRoutes(t *testing.T) {
	t.Parallel()
	const long = `{samplingWindow: 10m, requestsPerSecondThreshold: 0}`
	a := startAdmitted(t, map[string]string{"pay": long, "cart": long})
	comes := func(header string) func() bool {
		return func() bool {
			response, _ := a.send(t, "GET", "/cart", "Host", "shop.test")
			return response.Header.Get("Comes") == header
		}
	}
	a.codes.Store("/pay", 500)
	failed := 0
	eventually(t, "much has failed", func() bool {
		failed += a.asks(t, 50, "/pay")[500]
		return failed > 100
	})
	a.codes.Delete("/pay")
	commit(a.store, a.host(t, "second"))
	eventually(t, "routes are served anew", comes("second"))
	for _, match := range []string{"/pay", "/as/pay"} {
		if codes := a.asks(t, 20, match); codes[503] == 0 {
			t.Errorf("%s after routes changed: %v", match, codes)
		}
	}
	a.says["stock"] = long
	commit(a.store, a.filter(t), a.host(t, "third"))
	eventually(t, "routes are served anew", comes("third"))
	eventually(t, "nothing is turned away", func() bool { return a.asks(t, 50, "/pay")[200] == 50 })
}
