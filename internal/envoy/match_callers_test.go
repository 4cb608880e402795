package envoy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// narrowedTo are for each path a rule that goes to a, one after it that policies narrow to some callers and that
// goes to b, and on /failing one of those callers that fails.
func narrowedTo(t *testing.T, routes string, callers map[string]string) mesh.VirtualHost {
	t.Helper()
	v := mesh.VirtualHost{Routes: routes, Domain: "*", Port: 80}
	for path, from := range callers {
		s := roomtest.Written[v1alpha1.Match](t, "from: "+from)
		match := "matches: [{path: {value: " + path + "}}], backendRefs: [{name: "
		two := rules(t, "[{"+match+"a}]}, {"+match+"b}]}]")
		two[1].Policies = []room.Decided{{Section: "match", Policy: "shop/match", Says: s}}
		if path == "/failing" {
			two[1].Fail = 500
		}
		v.Rules = append(v.Rules, two...)
	}
	return v
}

const ofWeb = "[{namespace: shop, serviceAccount: web}]"

// TestNarrowedRules: a real sidecar sends by a rule that a policy narrows if its pod is one of the callers that the
// rule is for, though another rule takes the same and is written first; else by the next one. At a Gateway nobody is.
func TestNarrowedRules(t *testing.T) {
	const others = "[{namespace: shop, serviceAccount: cart}, {namespace: back, serviceAccount: web}, {namespace: sho}]"
	callers := map[string]string{
		"/ours": ofWeb, "/namespace": "[{namespace: back}, {namespace: shop}]", "/theirs": others, "/failing": others,
	}
	endpoints := map[string][]mesh.Endpoint{"a": serveText(t, "a"), "b": serveText(t, "b")}
	gateway := world{endpoints: endpoints, hosts: []mesh.VirtualHost{narrowedTo(t, "routes", callers)}}.start(t)
	at := startCaller(t, endpoints, narrowedTo(t, "outbound/shop/cart/80", callers))
	for path, want := range map[string]string{"/ours": "200 b", "/namespace": "200 b", "/theirs": "200 a", "/failing": "200 a"} {
		if got := body(at + path); got != want {
			t.Errorf("a pod of web asks for %s: %s, want %s", path, got, want)
		}
		if got := body(gateway.url + path); got != "200 a" {
			t.Errorf("by a Gateway, %s: %s", path, got)
		}
	}
}

// serveText is an app that answers with a text.
func serveText(t *testing.T, text string) []mesh.Endpoint {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

// startCaller starts the sidecar of a pod of web in shop that calls cart, where requests meet a virtual host, and
// returns the URL by which the app calls.
func startCaller(t *testing.T, endpoints map[string][]mesh.Endpoint, host mesh.VirtualHost) string {
	t.Helper()
	t.Setenv("POD_NAMESPACE", "shop")
	t.Setenv("SERVICE_ACCOUNT", "web")
	port := porttest.Free(t, 1)[0]
	l := envoy.ServiceListener(mesh.ServiceListener{Name: host.Routes, Addresses: []string{"127.0.0.1"}, Port: port, Protocol: mesh.HTTP1, Service: "shop/cart"})
	l.BindToPort = nil
	resources := map[string]proto.Message{host.Routes: l}
	for name, of := range endpoints {
		resources[name] = world{}.static(name, "", of)
	}
	operatorKey, store := keyPair(t, operatorName), xds.NewStore(nil)
	commitTo(store, "web", rootsSecret(), identitySecret(t, callerID), unguarded(), resources, map[string]proto.Message{host.Routes: envoy.ServiceRoutes(host)})
	sidecar := startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "web")
	at := fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(t, "the sidecar sends", func() bool { return sidecar.isReady() && strings.HasPrefix(body(at+"/"), "404") })
	return at
}
