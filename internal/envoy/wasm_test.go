package envoy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
	"github.com/weft-mesh/weft/internal/xds"
)

// aModule is an extension of one, of which the URL says what was fetched.
func aModule(name, config string) string {
	return "{name: " + name + ", wasm: {remote: {url: 'http://modules/test', sha256: ''}, config: " + config + "}}"
}

// modular is a proxy whose requests may meet modules: each path by a policy of its own.
type modular struct {
	lingering
	policies map[string]room.Decided // by path
}

// apart is the name of the filter of a path.
func apart(path string) string { return "policy/extensions/Gateway/shop" + path }

// decide is what a policy says for a path; awaited has its module not there yet.
func (m modular) decide(t *testing.T, path, says string) {
	t.Helper()
	d := extended(t, says)[0]
	d.Policy, d.Apart = "shop"+path, apart(path)
	m.policies[path] = d
}

// filters are the resources of all policies. Of those that are awaited the proxy may hear, but there is none.
func (m modular) filters(awaited ...string) map[string]proto.Message {
	out, none := map[string]proto.Message{}, xds.Change{Scopes: map[string]map[xds.Name]*xds.Variant{"gateway": {}}}
	for path, d := range m.policies {
		if !slices.Contains(awaited, path) {
			out[apart(path)] = envoy.Apart(mesh.Apart{Name: apart(path), Decided: d})
			continue
		}
		none.Scopes["gateway"][xds.Name{Type: xds.ExtensionType, Name: apart(path)}] = new(xds.Variant("gateway"))
	}
	m.store.Commit(none)
	return out
}

// settled waits until the proxy has answered all, and refuses so many.
func (m modular) settled(t *testing.T, refused int) {
	t.Helper()
	revision := m.store.Revision()
	eventually(t, fmt.Sprintf("the proxy has all, and refuses %d", refused), func() bool {
		all := m.facts.All()
		return len(all) == 1 && all[0].Acknowledged >= revision && len(all[0].Refused) == refused
	})
}

// entered has a listener with the filters, and Routes that enter them.
func (m modular) entered(t *testing.T, port uint32) (listener, host map[string]proto.Message) {
	t.Helper()
	chain := mesh.Chain{Name: "http", Routes: changingRoutes}
	text := ""
	var decided []room.Decided
	for path, d := range m.policies {
		chain.Apart = append(chain.Apart, mesh.Apart{Name: apart(path), Decided: d})
		decided = append(decided, d)
		text += fmt.Sprintf("- matches: [{path: {value: %s}}]\n  backendRefs: [{name: %s}]\n", path, changingBackend)
	}
	v := virtualHost(t, changingRoutes, "*", text+fmt.Sprintf("- backendRefs: [{name: %s}]\n", changingBackend))
	for i, d := range decided {
		v.Rules[i].Policies = []room.Decided{d}
	}
	return map[string]proto.Message{changingRoutes: envoy.Listener(mesh.Listener{Name: changingRoutes, Port: port, Chains: []mesh.Chain{chain}})},
		map[string]proto.Message{v.Name(): envoy.VirtualHost(v)}
}

// TestModules runs modules in a real Envoy: what they do to requests, and that one that is wrong harms only the
// requests of its own policy.
func TestModules(t *testing.T) {
	t.Parallel()
	m := modular{startLingering(t), map[string]room.Decided{}}
	for _, path := range []string{"/adds", "/moves", "/stays", "/host", "/refused", "/hoards", "/calls", "/logs", "/crash"} {
		m.decide(t, path, "["+aModule("a", "{edition: 1}")+"]")
	}
	m.decide(t, "/crash-open", "["+opened(aModule("a", "{}"))+"]")
	m.decide(t, "/refuses", "["+aModule("a", "{refuse: true}")+"]")
	m.decide(t, "/refuses-open", "["+opened(aModule("a", "{refuse: true}"))+"]")
	m.decide(t, "/awaited", "["+aModule("a", "{}")+"]")
	m.decide(t, "/awaited-open", "["+opened(aModule("a", "{}"))+"]")
	m.decide(t, "/both", "["+onRequest(`h:headers():add("x-script", "first")`)+", "+aModule("b", "{}")+"]")
	m.decide(t, "/closed", "["+aModule("a", "{}")+"]")
	d := m.policies["/closed"]
	d.Referents = []room.Referent{{Problem: "it is no module"}}
	m.policies["/closed"] = d
	listener, host := m.entered(t, m.port)
	commit(m.store, listener, m.filters("/awaited", "/awaited-open"), host)
	m.settled(t, 2)
	eventually(t, "the port is served anew", func() bool { response, _ := m.meets(t, "/closed", ""); return response.StatusCode == 500 })
	for _, c := range []struct {
		path        string
		status      int
		wasm, other string // headers that the backend hears
	}{
		{"/adds", 200, `ran{"edition":1}`, ""},
		{"/none", 200, "", ""},
		{"/moves", 500, "", ""},
		{"/stays", 200, `ran{"edition":1}`, ""},
		{"/host", 500, "", ""},
		{"/refused", 403, "", ""},
		{"/calls", 200, `ran{"edition":1}`, "10"}, // Proxy-Wasm's "internal failure"
		{"/logs", 200, `ran{"edition":1}`, ""},
		{"/both", 500, "", ""}, // one of them would be passed over
		{"/closed", 500, "", ""},
		{"/refuses", 500, "", ""},
		{"/refuses-open", 200, "", ""},
		{"/awaited", 500, "", ""},
		{"/awaited-open", 200, "", ""},
		{"/hoards", 503, "", ""}, // more memory than it may have: it crashes
		{"/adds", 200, `ran{"edition":1}`, ""},
		{"/crash-open", 503, "", ""},
		{"/crash-open", 200, "", ""},
		{"/crash", 503, "", ""},
	} {
		response, got := m.meets(t, c.path, "abc")
		if other := got.Header.Get("x-call") + got.Header.Get("x-script"); response.StatusCode != c.status || got.Header.Get("x-wasm") != c.wasm || other != c.other || (c.status == 200) != (got.Backend != "") {
			t.Errorf("%s: %d, the backend heard %q and %q; want %+v", c.path, response.StatusCode, got.Header.Get("x-wasm"), other, c)
		}
	}
	for _, line := range []string{"another route", "restricted", "as asked"} {
		eventually(t, "the log tells of it: "+line, func() bool { return strings.Contains(m.log.String(), line) })
	}
}

// TestModuleComes: a policy's requests fail until its module has come, which holds up no other policy, nor what is
// not about it. When it is made again, proxies keep the one that they have.
func TestModuleComes(t *testing.T) {
	t.Parallel()
	m := modular{startLingering(t), map[string]room.Decided{}}
	m.decide(t, "/late", "["+aModule("a", "{}")+"]")
	m.decide(t, "/there", "["+aModule("a", "{}")+"]")
	listener, host := m.entered(t, m.port)
	commit(m.store, listener, m.filters("/late"), host)
	hears := func(path, want string) {
		t.Helper()
		eventually(t, path+" hears "+want, func() bool { _, got := m.meets(t, path, ""); return got.Header.Get("x-wasm") == want })
	}
	hears("/there", "ran{}")
	if response, _ := m.meets(t, "/late", ""); response.StatusCode != 500 {
		t.Errorf("without its module: %d", response.StatusCode)
	}
	commit(m.store, m.filters())
	hears("/late", "ran{}")
}

// TestModuleRefused: a module that the proxy refuses holds up nothing else, neither another policy's nor a change of
// the listener.
func TestModuleRefused(t *testing.T) {
	t.Parallel()
	m := modular{startLingering(t), map[string]room.Decided{}}
	m.decide(t, "/first", "["+aModule("a", "{refuse: true}")+"]")
	m.decide(t, "/had", "["+aModule("a", "{edition: 1}")+"]")
	listener, host := m.entered(t, m.port)
	commit(m.store, listener, m.filters(), host)
	m.settled(t, 1)
	m.decide(t, "/had", "["+aModule("a", "{refuse: true}")+"]")
	commit(m.store, m.filters())
	m.settled(t, 2)
	m.decide(t, "/second", "["+aModule("a", "{}")+"]")
	listener, host = m.entered(t, m.port)
	commit(m.store, listener, m.filters(), host)
	m.settled(t, 2)
	eventually(t, "another one runs", func() bool { _, got := m.meets(t, "/second", ""); return got.Header.Get("x-wasm") == "ran{}" })
	if _, got := m.meets(t, "/had", ""); got.Header.Get("x-wasm") != `ran{"edition":1}` {
		t.Errorf("what ran before the one that is refused: %q", got.Header.Get("x-wasm"))
	}
	if response, _ := m.meets(t, "/first", ""); response.StatusCode != 500 {
		t.Errorf("whose module is refused: %d", response.StatusCode)
	}
	m.decide(t, "/first", "["+aModule("a", "{edition: 2}")+"]")
	commit(m.store, m.filters())
	m.settled(t, 1)
	eventually(t, "it runs", func() bool { _, got := m.meets(t, "/first", ""); return got.Header.Get("x-wasm") == `ran{"edition":2}` })
}

// TestModuleChanges: while modules come, change and go, no request fails.
func TestModuleChanges(t *testing.T) {
	t.Parallel()
	m := modular{startLingering(t), map[string]room.Decided{}}
	ended := m.keepAskingAt(t, "shop.test")
	for i := range 10 {
		m.decide(t, "/", "["+aModule("a", fmt.Sprintf("{edition: %d}", i))+"]")
		listener, host := m.entered(t, m.port)
		m.changes(t, ended, []map[string]proto.Message{listener, m.filters(), host})
		eventually(t, "it runs", func() bool {
			_, got := m.meets(t, "/", "")
			return got.Header.Get("x-wasm") == fmt.Sprintf(`ran{"edition":%d}`, i)
		})
		m.decide(t, "/", "["+aModule("a", fmt.Sprintf("{change: %d}", i))+"]")
		m.changes(t, ended, []map[string]proto.Message{m.filters()})
		delete(m.policies, "/")
		listener, host = m.entered(t, m.port)
		m.changes(t, ended, []map[string]proto.Message{listener, host, {apart("/"): (*corev3.TypedExtensionConfig)(nil)}})
	}
	t.Logf("%d requests under 30 changes", ended())
}

// smallModules are extensions with a module that does nothing.
func smallModules(t *testing.T) mesh.Apart {
	t.Helper()
	d := extended(t, "["+opened(aModule("a", "{x: [1]}"))+"]")[0]
	d.Referents[0] = room.Referent{Text: roomtest.Module}
	return mesh.Apart{Name: "policy/extensions/Gateway/shop/more", Decided: d}
}

func module(t *testing.T) string { return string(envoytest.Module(t)) }
