package extauth

import (
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

func written(t *testing.T, policy, text string) room.Written[v1alpha1.ExtAuth] {
	t.Helper()
	return room.Written[v1alpha1.ExtAuth]{Policy: policy, Says: roomtest.Written[v1alpha1.ExtAuth](t, text)}
}

// told are filters in short: those that remove headers with these, those that ask with the server, those that refuse.
func told(t *testing.T, filters []*corev3.TypedExtensionConfig) string {
	t.Helper()
	var out []string
	for _, f := range filters {
		switch f.Name {
		case "envoy.filters.http.header_mutation":
			m := &headermutationv3.HeaderMutation{}
			roomtest.Unpack(t, f.TypedConfig, m)
			for _, r := range m.Mutations.RequestMutations {
				out = append(out, "-"+r.GetRemove())
			}
		case "envoy.filters.http.ext_authz":
			c := &extauthzv3.ExtAuthz{}
			roomtest.Unpack(t, f.TypedConfig, c)
			if err := c.ValidateAll(); err != nil {
				t.Error(err)
			}
			asks := c.GetHttpService().GetServerUri().GetCluster() + c.GetGrpcService().GetEnvoyGrpc().GetClusterName()
			if c.FailureModeAllow {
				asks += "?"
			}
			out = append(out, asks)
		default:
			out = append(out, "refuse")
		}
	}
	return strings.Join(out, " ")
}

const (
	one = "{protocol: HTTP, backendRef: {name: a, port: 80}, http: {allowedHeaders: [x-a], allowedResponseHeaders: [X-A, X-B, x-c]}, serverHeaders: [X-B, x-b, X-D]}"
	two = "{protocol: GRPC, backendRef: {name: b, port: 80}, serverHeaders: [X-B, X-E], failOpen: true}"
	bad = "{protocol: HTTP, backendRef: {name: c, port: 80}, http: {path: /a/../b}, failOpen: true}"
)

func TestGuard(t *testing.T) {
	a, b, c := written(t, "shop/a", one), written(t, "shop/b", two), written(t, "shop/c", bad)
	there := func(name string) []room.Referent { return []room.Referent{{Cluster: name, Authority: name}} }
	gone := []room.Referent{{Problem: "it is not there"}}
	for name, g := range map[string]struct {
		said  []room.Written[v1alpha1.ExtAuth]
		found [][]room.Referent
		want  string
	}{
		"one":                         {[]room.Written[v1alpha1.ExtAuth]{a}, [][]room.Referent{there("a")}, "-x-b -x-d -x-c a"},
		"two, and what one has set":   {[]room.Written[v1alpha1.ExtAuth]{a, b}, [][]room.Referent{there("a"), there("b")}, "-x-b -x-d -x-c a -x-e b?"},
		"one on two levels":           {[]room.Written[v1alpha1.ExtAuth]{a, b, a}, [][]room.Referent{there("a"), there("b"), there("a")}, "-x-b -x-d -x-c a -x-e b?"},
		"one that is not there":       {[]room.Written[v1alpha1.ExtAuth]{a, b}, [][]room.Referent{gone, there("b")}, "-x-b -x-d -x-c refuse -x-e b?"},
		"one that may not be there":   {[]room.Written[v1alpha1.ExtAuth]{b, a}, [][]room.Referent{gone, there("a")}, "-x-b -x-e -x-d -x-c a"},
		"of which nothing is known":   {[]room.Written[v1alpha1.ExtAuth]{a}, nil, "-x-b -x-d -x-c refuse"},
		"one that cannot be served":   {[]room.Written[v1alpha1.ExtAuth]{c}, [][]room.Referent{there("c")}, "refuse"},
		"one that cannot, then a two": {[]room.Written[v1alpha1.ExtAuth]{c, b}, [][]room.Referent{there("c"), there("b")}, "refuse -x-b -x-e b?"},
	} {
		if got := told(t, guard(g.said, g.found, room.Service)); got != g.want {
			t.Errorf("%s: %s, want %s", name, got, g.want)
		}
	}
}

func TestRefers(t *testing.T) {
	if refs := refers(written(t, "a", one).Says); len(refs) != 1 || refs[0].Field != ".backendRef" || !refs[0].ByHTTP || refs[0].Instead != refused {
		t.Errorf("%+v", refs)
	}
	if refs := refers(written(t, "a", two).Says); len(refs) != 1 || refs[0].ByHTTP || refs[0].Instead == refused {
		t.Errorf("%+v", refs)
	}
	for text, field := range map[string]string{
		bad: ".http.path",
		"{protocol: HTTP, http: {allowedHeaders: [a, 'b c']}}":         ".http.allowedHeaders[1]",
		"{protocol: HTTP, http: {allowedResponseHeaders: [\"a\\n\"]}}": ".http.allowedResponseHeaders[0]",
		"{protocol: GRPC, grpc: {allowedHeaders: ['']}}":               ".grpc.allowedHeaders[0]",
		"{protocol: TCP}": ".protocol",
	} {
		if refs := refers(written(t, "a", text).Says); len(refs) != 2 || refs[1].Field != field || refs[1].Check("") == "" || refs[1].Instead != refused {
			t.Errorf("%s: %+v", text, refs)
		}
	}
}

func TestLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{"": Longest, ", timeout: 2s": 2 * time.Second, ", timeout: 1h": Longest, ", timeout: x": Longest} {
		a := question(written(t, "a", "{protocol: HTTP"+text+"}").Says)
		if got := a.limit().AsDuration(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
