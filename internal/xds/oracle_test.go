package xds

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// TestOracle plays random histories and expects, whenever all is quiet, that each proxy holds
// exactly what the Store has in its scope and what it subscribes to, and that nothing was
// sent to a proxy that had it already. Nor does a cluster that lingers go before its time.
func TestOracle(t *testing.T) {
	histories, steps := 1500, 150
	if testing.Short() {
		histories = 200
	}
	for seed := range histories {
		synctest.Test(t, func(t *testing.T) {
			h := newHistory(t, uint64(seed))
			for range steps {
				h.step()
			}
			for _, e := range h.envoys {
				h.settle(e)
			}
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, strings.Join(h.story, "\n"))
			}
		})
		if t.Failed() {
			return
		}
	}
}

// history is a random one. The streams' code runs without their goroutines, so that each
// step comes at a known place.
type history struct {
	*rand.Rand
	t      *testing.T
	refuse bool // proxies refuse some
	store  *Store
	facts  *Facts
	envoys []*model
	story  []string
}

var (
	modelNames    = map[string][]string{ClusterType: {"a", "b", "slow"}, EndpointType: {"a", "b", "slow"}, SecretType: {"s", "t"}, ListenerType: {"l", "m"}, ExtensionType: {"l", "m"}, RouteType: {"r", "q"}, VirtualHostType: {"r/x", "r/y", "q/x"}}
	modelScopes   = []string{"web", "api", "shop", "here", "all"} // proxies are of the first two
	modelBases    = map[string][]string{"web": {"here", "shop", "all"}, "api": {"all"}, "shop": {"all"}}
	modelVariants = []Variant{"", "v"}
)

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, refuse: seed%2 == 1, store: NewStore(func(key string) []string { return modelBases[key] }), facts: NewFacts()}
	for i := range 3 {
		e := &model{history: h, label: fmt.Sprintf("proxy %d of %s", i, modelScopes[i%2]), scope: modelScopes[i%2], names: map[string]map[string]bool{}, holds: map[Name]string{}}
		e.connect()
		h.envoys = append(h.envoys, e)
	}
	return h
}

func pick[T any](h *history, of []T) T { return of[h.IntN(len(of))] }

func (h *history) name() Name {
	typ := typeURLs[h.IntN(int(kinds))]
	return Name{typ, pick(h, modelNames[typ])}
}

func (h *history) step() {
	e := pick(h, h.envoys)
	switch n := h.IntN(22); {
	case n < 8:
		h.commit()
	case n < 12:
		e.receive()
	case n < 15:
		e.respond(h.refuse && h.IntN(6) == 0)
	case n < 17:
		e.resubscribe(h.name())
	case n < 18:
		h.log("%s reconnects", e)
		e.disconnect()
		e.connect()
	case n < 19:
		h.truncate()
	case n < 21:
		d := time.Duration(h.Int64N(int64(lingerTime)))
		h.log("%s pass", d)
		time.Sleep(d)
	default:
		h.settle(e)
	}
}

func (h *history) log(format string, args ...any) {
	h.story = append(h.story, fmt.Sprintf(format, args...))
}

func (h *history) commit() {
	var lines []func(*world)
	for range 1 + h.IntN(4) {
		n, v := h.name(), pick(h, modelVariants)
		switch h.IntN(6) {
		case 0:
			lines = append(lines, func(w *world) { w.Resources[Resource{n, v}] = nil })
			h.log("drop %s %q", n, v)
		case 1:
			scope := pick(h, modelScopes)
			lines = append(lines, hide(scope, n.Type, n.Name))
			h.log("hide %s from %s", n, scope)
		case 2, 3:
			scope := pick(h, modelScopes)
			lines = append(lines, seeVariant(scope, n.Type, v, n.Name))
			h.log("%s sees %s %q", scope, n, v)
		default:
			version := fmt.Sprint(1 + h.IntN(3))
			lines = append(lines, putVariant(n.Type, n.Name, v, version))
			h.log("put %s %q %s", n, v, version)
		}
	}
	commit(h.store, lines...)
}

// truncate makes every scope drop most of its log, as a long one would be.
func (h *history) truncate() {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for _, sc := range h.store.scopes {
		if n := h.IntN(3); len(sc.log) > n {
			sc.truncate(n)
		}
	}
	h.log("truncate")
}

// settle lets a proxy and the server talk until neither has more to say, and compares.
func (h *history) settle(e *model) {
	for range 1000 {
		e.receive()
		if len(e.unanswered) > 0 {
			e.respond(false)
			continue
		}
		if e.proxy.lingering == 0 {
			h.compare(e)
			clear(e.again)
			return
		}
		if e.proxy.waiting() {
			h.t.Errorf("%s is held back more than what lingers: %v", e, e.proxy.held)
		}
		time.Sleep(time.Until(e.proxy.due))
	}
	h.t.Errorf("%s and the server talk for ever", e)
}

func (h *history) compare(e *model) {
	want := map[Name]string{}
	for k, typ := range typeURLs {
		for l := range h.store.scopes[e.scope].chain {
			for name := range l.seen[k] {
				if n := (Name{typ, name}); e.wants(n) {
					want[n] = h.store.scopes[e.scope].version(kind(k), name)
				}
			}
		}
	}
	maps.DeleteFunc(want, func(_ Name, v string) bool { return v == "" })
	got := maps.Clone(e.holds)
	for n, v := range e.proxy.refused { // it keeps what it had
		if want[n.wire()] == v {
			delete(want, n.wire())
			delete(got, n.wire())
		}
	}
	if !maps.Equal(got, want) {
		h.t.Errorf("%s holds %v, want %v", e, got, want)
	}
}

// model is an Envoy: what it subscribes to and what it holds.
type model struct {
	*history
	label      string
	scope      string
	proxy      *proxy
	names      map[string]map[string]bool // by type; "*" is all
	holds      map[Name]string
	unanswered []*discovery.DeltaDiscoveryResponse
	asked      map[Name]uint64 // an answer is due even if nothing changed, in a response after this nonce
	again      map[Name]bool   // comes again with something else
	shaken     map[Name]bool   // was refused on this stream: it, and virtual hosts of it, may come again
	wanted     time.Time       // when it last heard while its scope saw the cluster that lingers
}

func (e *model) String() string { return e.label }

// connect opens a stream and subscribes to everything again, saying what it holds.
func (e *model) connect() {
	e.unanswered, e.asked, e.again, e.shaken = nil, map[Name]uint64{}, map[Name]bool{}, map[Name]bool{}
	e.wanted = time.Now()
	e.proxy = &proxy{store: e.store, read: e.store.attach(e.scope), maxNames: 1000, linger: lingerOf, fact: e.facts.add(Proxy{Scope: e.scope}, func(Refusal) {})}
	for _, typ := range typeURLs {
		if e.names[typ] == nil {
			e.names[typ] = e.initial(typ)
		}
		if len(e.names[typ]) == 0 {
			continue // Envoy says nothing: that would mean everything
		}
		has := map[string]string{}
		for n, v := range e.holds {
			if n.Type == typ {
				has[n.Name] = v
			}
		}
		e.send(&discovery.DeltaDiscoveryRequest{TypeUrl: typ, InitialResourceVersions: has, ResourceNamesSubscribe: slices.Sorted(maps.Keys(e.names[typ]))})
	}
}

func (e *model) initial(typ string) map[string]bool {
	if typ == ClusterType || typ == ListenerType || typ == VirtualHostType {
		return map[string]bool{wildcard: true}
	}
	return map[string]bool{pick(e.history, modelNames[typ]): true}
}

func (e *model) disconnect() {
	e.store.detach(e.proxy.read)
	e.facts.remove(e.proxy.fact)
}

func (e *model) send(req *discovery.DeltaDiscoveryRequest) {
	req = proto.CloneOf(req)
	if _, err := e.proxy.take(req); err != nil {
		e.t.Errorf("take %v: %v", req, err)
	}
}

// resubscribe turns one name's subscription around.
func (e *model) resubscribe(n Name) {
	if e.names[n.Type][wildcard] {
		return
	}
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: n.Type}
	if e.names[n.Type][n.Name] {
		req.ResourceNamesUnsubscribe = []string{n.Name}
		delete(e.names[n.Type], n.Name)
		e.forget(n)
	} else {
		req.ResourceNamesSubscribe = []string{n.Name}
		e.names[n.Type][n.Name] = true
		e.asked[n] = e.proxy.nonce
	}
	e.log("%s turns %s", e, n)
	if k, _ := kindOf(n.Type); e.proxy.subs[k] != nil || len(req.ResourceNamesSubscribe) > 0 {
		e.send(req)
	}
}

// forget drops what Envoy drops with a subscription: a RouteConfiguration takes its virtual hosts along.
func (e *model) forget(n Name) {
	delete(e.holds, n)
	maps.DeleteFunc(e.holds, func(h Name, _ string) bool {
		return n.Type == RouteType && h.Type == VirtualHostType && routeOf(h.Name) == n.Name
	})
}

// wants reports whether the proxy keeps a resource of that name when it gets one.
func (e *model) wants(n Name) bool {
	if !e.names[n.Type][wildcard] {
		return e.names[n.Type][n.Name]
	}
	return n.Type != VirtualHostType || e.holds[Name{RouteType, routeOf(n.Name)}] != ""
}

// receive takes in what the server has to say now.
func (e *model) receive() {
	if len(e.proxy.flight) >= window {
		return
	}
	out, _ := e.proxy.plan()
	if _, seen := e.store.Sight(e.scope, Name{ClusterType, "slow"}); seen {
		e.wanted = time.Now()
	}
	for _, r := range out {
		if r.kind == clusters && slices.Contains(r.gone, "slow") && time.Since(e.wanted) < lingerTime && !e.shaken[Name{ClusterType, "slow"}] {
			e.t.Errorf("%s loses a cluster %s after it was wanted", e, time.Since(e.wanted))
		}
		var whole discovery.DeltaDiscoveryResponse
		if err := proto.Unmarshal(r.frames().Materialize(), &whole); err != nil {
			e.t.Fatal(err)
		}
		e.log("%s < %s", e, text(&whole))
		e.unanswered = append(e.unanswered, &whole)
	}
	e.proxy.acknowledge()
}

// respond answers the oldest response: takes it in, or refuses it.
func (e *model) respond(refuse bool) {
	if len(e.unanswered) == 0 {
		return
	}
	r := e.unanswered[0]
	e.unanswered = e.unanswered[1:]
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
	if refuse && len(r.Resources) > 0 {
		e.log("%s refuses %s", e, text(r))
		req.ErrorDetail = &status.Status{Message: "no"}
		for _, x := range r.Resources {
			e.expect(Name{r.TypeUrl, x.Name})
			e.shaken[Name{r.TypeUrl, x.Name}] = true
		}
	} else {
		e.apply(r)
	}
	e.send(req)
}

func (e *model) apply(r *discovery.DeltaDiscoveryResponse) {
	nonce, err := strconv.ParseUint(r.Nonce, 10, 64)
	if err != nil {
		e.t.Fatal(err)
	}
	spoken := map[string]bool{}
	for _, x := range r.Resources {
		n := Name{r.TypeUrl, x.Name}
		if spoken[x.Name] {
			e.t.Errorf("%s speaks of %s twice", text(r), x.Name)
		}
		spoken[x.Name] = true
		if e.holds[n] == x.Version && !e.excused(n) {
			e.t.Errorf("%s is resent %s at %s", e, n, x.Version)
		}
		e.expect(n)
		if after, ok := e.asked[n]; ok && nonce > after {
			delete(e.asked, n)
		}
		delete(e.again, n)
		if e.wants(n) {
			e.holds[n] = x.Version
		}
	}
	for _, name := range r.RemovedResources {
		e.forget(Name{r.TypeUrl, name})
	}
}

// excused reports whether a resource may come again though the proxy has it.
func (e *model) excused(n Name) bool {
	_, asked := e.asked[n]
	return asked || e.again[n] || e.shaken[n] || n.Type == VirtualHostType && e.shaken[Name{RouteType, routeOf(n.Name)}]
}

// expect notes what comes again with a resource: the endpoints of a cluster, which warms,
// and the virtual hosts of a RouteConfiguration that is new to the proxy.
func (e *model) expect(n Name) {
	switch n.Type {
	case ClusterType:
		e.again[Name{EndpointType, n.Name}] = true
	case RouteType:
		if e.holds[n] == "" || e.excused(n) {
			for _, host := range modelNames[VirtualHostType] {
				e.again[Name{VirtualHostType, host}] = routeOf(host) == n.Name || e.again[Name{VirtualHostType, host}]
			}
		}
	}
}
