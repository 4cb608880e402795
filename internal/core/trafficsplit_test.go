package core

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// split is the spec of a TrafficSplit.
func (h chance) split() string {
	backend := func() string {
		return fmt.Sprintf("{service: %s, weight: %d}", h.of("x", "u", "z", "x.a", "u.b.svc"), h.Intn(3))
	}
	matches := fmt.Sprintf("matches: [{kind: %s, name: %s}, {kind: HTTPRouteGroup, name: x}], ", h.of("HTTPRouteGroup", "HTTPRouteGroup", "TCPRoute"), h.of("x", "u"))
	return fmt.Sprintf("spec: {service: %s, %sbackends: [%s, %s]}\n", h.of("x", "u", "z", "x.a.svc"), h.of("", "", matches), backend(), backend())
}

// matches are the spec of an HTTPRouteGroup.
func (h chance) matches() string {
	return fmt.Sprintf("spec: {matches: [{name: one, pathRegex: %q}, {name: two, methods: [%s], headers: {a: %q}}]}\n", h.of("/p", "(", ""), h.of("GET", "'*'", "GET, HEAD"), h.of("b", "b.*", "["))
}

// TestOracleOfTrafficSplits: the same of a world of Services, TrafficSplits, and the routes that go before
// them.
func TestOracleOfTrafficSplits(t *testing.T) {
	kinds := []int{1, 3, 3, 3, 5, 11, 26, 29, 29, 29, 29, 30, 30}
	consult(t, true, func(h chance) string { return h.object(kinds[h.Intn(len(kinds))]) })
}

// TestEnvoyTakesTrafficSplits: at every step of their stories.
func TestEnvoyTakesTrafficSplits(t *testing.T) {
	stories, err := filepath.Glob("testdata/traffic-split*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("%d stories, %v", len(stories), err)
	}
	var all []proto.Message
	seen := map[string]bool{}
	for _, path := range stories {
		story, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		w.text = func(t *testing.T, r *discovery.Resource) string {
			if r == nil || seen[r.Version] || !strings.HasPrefix(r.Name, mesh.OutboundListener+"/") {
				return ""
			}
			seen[r.Version] = true
			m, err := r.Resource.UnmarshalNew()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
			return r.Version
		}
		for _, f := range story.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				w.apply(f.Data)
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d resources", len(all))
	}
	envoytest.Validate(t, all...)
}

// TestARefusedTrafficSplit is kept from the proxies until it, or what it names, is another; the next
// oldest has the port meanwhile.
func TestARefusedTrafficSplit(t *testing.T) {
	w := newWorld(t)
	group := func(header string) []byte {
		return []byte(`
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: ab, namespace: shop}
spec: {matches: [{name: ab, headers: {` + header + `: "1"}}]}`)
	}
	w.apply([]byte(`
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.1.0.1, clusterIPs: [10.1.0.1], ports: [{name: http, port: 80}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: ab, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {service: web, matches: [{kind: HTTPRouteGroup, name: ab}], backends: [{service: web, weight: 1}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: b, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}
spec: {service: web, backends: [{service: web, weight: 1}]}
`))
	w.apply(group("a"))
	const routes, first, second = "routes outbound/shop/web/80", "trafficsplit/shop/ab/0/0", "trafficsplit/shop/b/0/0"
	expect := func(route, ready string) {
		t.Helper()
		if !strings.Contains(w.seen[routes], route) || !strings.Contains(w.seen["status TrafficSplit shop/ab"], ready) {
			t.Fatalf("want %s and %s:\n%s\n%s", route, ready, w.seen[routes], w.seen["status TrafficSplit shop/ab"])
		}
	}
	expect(first, "Ready=True")
	at := xds.Resource{Name: xds.Name{Type: typeURL(mesh.KindRoutes), Name: "outbound/shop/web/80"}}
	suspects := w.core.quarantine.hosts[at].versions
	w.core.tables.Graph.Commit(func() {
		w.core.quarantine.refused(at, suspects[len(suspects)-1].id, refusal{"shop/web-1", "no such header"})
	})
	w.commit()
	expect(second, "Ready=False UnsupportedValue: proxy shop/web-1 refused")
	w.apply(group("b"))
	expect(first, "Ready=True")
}
