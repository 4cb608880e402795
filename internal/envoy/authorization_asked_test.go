package envoy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz/check"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/opa/opatest"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// checker is a weft authz that a proxy may ask.
type checker struct {
	t       *testing.T
	at      mesh.Endpoint
	files   envoy.Files
	pair    tls.Certificate
	server  *check.Server
	stopped chan error
}

func newChecker(t *testing.T) *checker {
	t.Helper()
	certificate := keyPair(t, mesh.CheckAuthority)
	pair, err := tls.X509KeyPair(certificate.Chain, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{t: t, at: mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}, pair: pair}
	c.files.Token, c.files.Roots = files(t, "who I am", certificate.Chain)
	return c
}

// start has it answer, until stop or the end of the test.
func (c *checker) start() {
	c.t.Helper()
	c.server = check.NewServer(check.Options{
		Certificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.pair, nil },
		Authenticator: tokens{"who I am": xds.Identity{Namespace: "shop", Pod: "cart-0"}},
	})
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", c.at.Address, c.at.Port))
	if err != nil {
		c.t.Fatal(err)
	}
	c.stopped = make(chan error, 1)
	go func(s *check.Server, ended chan error) { ended <- s.Serve(l) }(c.server, c.stopped)
	c.t.Cleanup(c.stop)
}

func (c *checker) stop() {
	if c.server == nil {
		return
	}
	c.server.Stop()
	if err := <-c.stopped; err != nil {
		c.t.Error(err)
	}
	c.server = nil
}

// cluster is by what a proxy asks.
func (c *checker) cluster() map[string]proto.Message {
	return map[string]proto.Message{mesh.Checks: envoy.ChecksCluster(c.files)}
}

// static is the same where no operator tells of endpoints.
func (c *checker) static() *clusterv3.Cluster {
	out := envoy.ChecksCluster(c.files)
	out.ClusterDiscoveryType, out.EdsClusterConfig = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}, nil
	out.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: mesh.Checks, Addresses: []mesh.Endpoint{c.at}})
	return out
}

func (c *checker) endpoints() map[string]proto.Message {
	return map[string]proto.Message{mesh.Checks: envoy.Endpoints(mesh.Endpoints{Cluster: mesh.Checks, Addresses: []mesh.Endpoint{c.at}})}
}

// asked is how often the sidecar of a court has asked it.
func (c *checker) asked(by court) (n int) {
	c.t.Helper()
	at := fmt.Sprintf("%s::%s:%d::rq_total::", mesh.Checks, c.at.Address, c.at.Port)
	for line := range strings.Lines(string(fetch(c.t, by.admin+"/clusters", "identity"))) {
		if text, is := strings.CutPrefix(strings.TrimSpace(line), at); is {
			n, _ = strconv.Atoi(text) // what is no number is none
		}
	}
	return n
}

// checked has the sidecar of a court ask a weft authz.
func (c court) checked(t *testing.T) *checker {
	t.Helper()
	out := newChecker(t)
	out.start()
	commitTo(c.store, c.account, out.cluster(), out.endpoints())
	c.knows(t)
	return out
}

// TestNobodyToAsk: whom weft authz would have to be asked about is refused while there is none, and let in when there is;
// whom it need not be asked about is answered all the time; and a log says who denied.
func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	const module = "package weft.v1\nallow if input.request.path == \"/open\"\nallow if { input.request.method == \"GET\"; lower(input.request.path) == \"/admin\" }\ndeny if { input.request.method == \"PUT\"; count(input.request.segments) > 1 }"
	c.judges(t, []room.Decided{moduleLaw(t, room.AtService, module, called)})
	from := caller{name: opatest.Callers[0], from: "127.0.0.1"}
	says := func(method, path string, want int) {
		t.Helper()
		if got, _ := c.ask(t, c.web, request{method: method, host: "cart", path: path}, from); got != want {
			t.Errorf("%s %s: %d, want %d", method, path, got, want)
		}
	}
	all := func(there int) {
		t.Helper()
		says("GET", "/open", 200)
		says("PUT", "/open", there) // a rule that denies may be about it
		says("GET", "/Admin", there)
		says("GET", "/ADMIN", there)
		says("POST", "/Admin", 403)
		says("GET", "/other", 403)
		says("PUT", "/other/x", 403)
	}
	all(403) // there is no cluster
	weft := newChecker(t)
	commitTo(c.store, c.account, weft.cluster(), weft.endpoints())
	c.knows(t)
	all(403) // nobody is there
	weft.start()
	all(200)
	eventually(t, "the log says who denied", func() bool {
		return tells(c.log.String(), map[string]any{"details": "ext_authz_denied", "opa_policy": fmt.Sprintf("shop/level-%d", room.AtService), "opa_rule": "none"})
	})
	weft.stop()
	all(403)
	weft.start()
	eventually(t, "it is asked again", func() bool {
		got, _ := c.ask(t, c.web, request{method: "GET", host: "cart", path: "/Admin"}, from)
		return got == 200
	})
	all(200)
}

// moduleLaw is what a module comes to at a level.
func moduleLaw(t *testing.T, at room.Level, module string, to opa.Destination) room.Decided {
	t.Helper()
	p := opa.Policy{
		Key: fmt.Sprintf("shop/level-%d", at), Authorization: &v1alpha1.Authorization{Rego: &v1alpha1.AuthorizationRego{}}, TrustDomain: "mesh.test",
		Modules: func(v1alpha1.AuthorizationRego) opa.Text { return opa.Text{Text: module} },
	}
	c := opa.Compile(p)
	rules, problems := c.For(to)
	if len(problems)+len(c.Problems) > 0 {
		t.Fatal(problems, c.Problems)
	}
	return room.Decided{
		Section: authorization.Section.Name, Policy: p.Key, Level: at, Says: p.Authorization, Law: authorization.RulingOf(rules),
		Claims: room.ClaimsFor(at, []room.Level{room.AtService}),
	}
}

// TestAskedAtGateways: at a Gateway each route asks for itself, by the claims that its level goes by; of two levels both must
// let in, and a server that a policy has asked must too.
func TestAskedAtGateways(t *testing.T) {
	t.Parallel()
	op, weft := newOP(t, "a"), newChecker(t)
	tokens := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(op.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	law := func(at room.Level, module string) room.Decided {
		return moduleLaw(t, at, "package weft.v1\n"+module, opa.Destination{Gateway: true, Namespace: "shop", ServiceAccount: "web-weft"})
	}
	const yes = `allow if lower(input.request.headers["x-a"]) == "yes"`
	w := world{endpoints: echoes(t, "a"), checks: weft}
	panel(t, &w, &questions{}, "outer")
	w.hosts = guardedHost(t, map[string][]room.Decided{
		"/own":    {tokens, law(room.AtService, `allow if { some i; input.request.segments[i] == input.jwt.claims.sub; i > 0 }`)},
		"/yes":    {law(room.AtService, yes)},
		"/levels": {law(room.AtNamespace, yes), law(room.AtRoute, `allow if lower(input.request.headers["x-b"]) == "yes"`)},
		"/server": {law(room.AtService, yes), asks(t, room.AtService, ofMember("outer", "HTTP", ""))},
		"/grpc":   {law(room.AtService, yes), asks(t, room.AtService, ofMember("outer", "GRPC", ""))},
		"/pods":   {law(room.AtService, `allow if { lower(input.source.principal) != "x" }`)},
	})
	weft.start()
	g := w.start(t)
	ann := bearer(op.token(nil))
	for _, c := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/own/x/ann", ann, 200}, {"/own/x/bob", ann, 403}, {"/own/x/ann", nil, 401},
		{"/yes", nil, 403}, {"/yes", []string{"x-a", "no"}, 403}, {"/yes", []string{"x-a", "yes", "x-a", "no"}, 403},
		{"/levels", []string{"x-a", "YES", "x-b", "yes"}, 200}, {"/levels", []string{"x-a", "YES"}, 403}, {"/levels", []string{"x-b", "YES"}, 403},
		{"/server", []string{"x-a", "YES", "x-yes", "outer"}, 200}, {"/server", []string{"x-a", "YES"}, 403}, {"/server", []string{"x-yes", "outer"}, 403},
		{"/grpc", []string{"x-a", "YES", "x-yes", "outer"}, 200}, {"/grpc", []string{"x-a", "YES"}, 403}, {"/grpc", []string{"x-yes", "outer"}, 403},
		{"/pods", nil, 403},
	} {
		if response, _ := g.send(t, "GET", c.path, c.headers...); response.StatusCode != c.status {
			t.Errorf("%s %v: %d, wanted %d", c.path, c.headers, response.StatusCode, c.status)
		}
	}
}
