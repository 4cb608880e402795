package stories

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/registrytest"
)

// modules is a server of modules on the machine of the node, and a registry. What it has not it answers 404.
type modules struct {
	url      string
	registry http.Handler
	mu       sync.Mutex
	has      map[string][]byte // by path
}

func serveModules(t *testing.T, address string) *modules {
	t.Helper()
	m := &modules{has: map[string][]byte{}, registry: registrytest.Handler()}
	m.url = "http://" + at(address, servesAt(t, address, m))
	return m
}

func (m *modules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		m.registry.ServeHTTP(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	text, has := m.has[r.URL.Path]
	if !has {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(text) // who asks may go
}

func (m *modules) put(path string, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has[path] = text
}

// push puts an artifact into the registry, and says where it is.
func (m *modules) push(t *testing.T, name string, layers ...registrytest.Layer) (url string) {
	t.Helper()
	at := strings.TrimPrefix(m.url, "http://") + "/" + name
	registrytest.Push(t, at, layers...)
	return download.PlainOCI + at
}

// extension is one of a module that is served.
func (m *modules) extension(path string, text []byte, more string) string {
	return fetched(m.url+path, text, more)
}

// fetched is an extension of a module that is somewhere.
func fetched(url string, text []byte, more string) string {
	return fmt.Sprintf("{name: tenant, wasm: {remote: {url: %s, sha256: %x}}%s}", url, sha256.Sum256(text), more)
}

func configured(extension, config string) string {
	return strings.Replace(extension, "wasm: {", "wasm: {config: "+config+", ", 1)
}

// TestWasm: while a caller sends 100 requests per second, of which none may fail, a module comes, changes and goes
// for what it calls. One that does not come, that is another one than was asked for, or that proxies refuse, is told
// of and leaves in force what was.
func TestWasm(t *testing.T) {
	s := stage.NewMeshed(t, "wasm")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	echo(t, s, "shop", "declared", "{}")
	s.Rollout("polite", "shop")
	from, origin, text := s.Caller("caller"), serveModules(t, s.Pod("shop").Status.HostIP), envoytest.Module(t)
	request := call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/goods"}
	from.Answered(request, nil)
	from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}, nil)
	const rate = 100
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate)
	from.Step("no module")
	from.Hold(2 * rate)
	hears := func(value string) {
		t.Helper()
		from.Answered(request, func(o call.Outcome) error {
			if got := o.Answer.Headers.Get("X-Wasm"); got != value {
				return fmt.Errorf("X-Wasm: %q, want %q", got, value)
			}
			return nil
		})
	}

	from.Step("a module")
	origin.put("/1.wasm", text)
	one := origin.extension("/1.wasm", text, "")
	s.Apply(extended(configured(one, "{edition: 1}")))
	hears(`ran{"edition":1}`)
	s.Holds("more")
	becomes(s, from, call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/refused"}, 403)
	becomes(s, from, call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/host"}, 500)
	from.Hold(rate)

	from.Step("another configuration")
	s.Apply(extended(configured(one, "{edition: 2}")))
	hears(`ran{"edition":2}`)
	s.Holds("more")
	from.Hold(rate)

	wrongModules(t, s, from, origin, text, hears)
	from.Hold(2 * rate)

	from.Step("a module of a registry")
	packed := append(text[:len(text):len(text)], "\x00\x02\x01y"...)
	url := origin.push(t, "team/tenant:1", registrytest.Layer{MediaType: "application/wasm", Content: packed})
	s.Apply(extended(configured(fetched(url, packed, ""), "{edition: 4}")))
	hears(`ran{"edition":4}`)
	s.Holds("more")
	from.Hold(rate)

	from.Step("no more")
	s.Remove(extended(one))
	hears("")
	from.Hold(2 * rate)
	results := from.Stop()
	t.Logf("\n%s", load.Print(load.Table(results, nil)))
	noneFailed(t, results)
}

// wrongModules has, in place of edition 2, a module whose server is away, and comes; one that proxies refuse; and
// one of another digest.
func wrongModules(t *testing.T, s *stage.Scene, from *stage.Caller, origin *modules, text []byte, hears func(string)) {
	t.Helper()
	from.Step("a module that does not come")
	other := append(text[:len(text):len(text)], "\x00\x02\x01x"...) // with a section that means nothing
	late := origin.extension("/late.wasm", other, "")
	s.Apply(extended(configured(late, "{edition: 3}")))
	stalledBy(s, "more", "ModuleNotFetched", "its server answers 404")
	hears(`ran{"edition":2}`)
	from.Hold(100)
	origin.put("/late.wasm", other)
	hears(`ran{"edition":3}`)
	s.Holds("more")

	from.Step("a module that refuses its configuration")
	s.Apply(extended(configured(late, "{refuse: it}")))
	stalledBy(s, "more", "Refused", "Unable to create Wasm plugin")
	hears(`ran{"edition":3}`)
	from.Hold(100)

	from.Step("another one than was asked for")
	s.Apply(extended(origin.extension("/1.wasm", other, ", failOpen: true")))
	stalledBy(s, "more", "Invalid", fmt.Sprintf("has the SHA-256 digest %x", sha256.Sum256(text)))
	hears("")
	from.Hold(100)

	from.Step("no module at all")
	page := []byte("<html>")
	origin.put("/page", page)
	s.Apply(extended(origin.extension("/page", page, ", failOpen: true")))
	stalledBy(s, "more", "Invalid", "is no WebAssembly")
	hears("")
}
