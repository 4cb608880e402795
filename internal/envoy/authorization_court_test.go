package envoy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa/opatest"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/internal/xds"
)

// court is a sidecar of which one port goes by policies, and another by none; both verify tokens. The app tells
// what it was asked.
type court struct {
	*station
	web, free uint32
	key       jwttest.Key
	lines     map[string]*channel
}

// caller is who opens connections: without a name in plaintext; of two names, with a space between them, is who is
// let in nowhere.
type caller struct {
	name, from string
	http2      bool
}

func (c court) anyCaller(r *rand.Rand) caller {
	return caller{one(r, append(opatest.Callers, "", "", opatest.Callers[0], opatest.Callers[1], opatest.Callers[0]+" "+opatest.Callers[1])...), one(r, "127.0.0.1", "127.0.0.2", "127.0.0.9"), r.Intn(2) == 0}
}

// request is what is asked, as it is written.
type request struct {
	method, host, path string
	headers            [][2]string
	token              token
}

// token is what a request has as its Authorization, and what it says.
type token struct {
	text   string
	claims map[string]any
}

// seen is what the app has seen of a request.
type seen struct {
	Method, URI, Host string
	Headers           map[string][]string
}

// input is what OPA is asked of what the app has seen, who has sent it and what was verified.
func (s seen) input(q request, from caller, port int, now time.Time) map[string]any {
	path, _, _ := strings.Cut(s.URI, "?")
	headers := map[string]any{}
	for name, values := range s.Headers {
		headers[name] = strings.Join(values, ",")
	}
	host, _, _ := strings.Cut(strings.ToLower(s.Host), ":")
	segments := []any{}
	for _, part := range strings.Split(path, "/")[1:] {
		segments = append(segments, part)
	}
	source := map[string]any{"ip": from.from}
	if parts := strings.Split(from.name, "/"); len(parts) == 7 {
		source["principal"], source["trust_domain"], source["namespace"], source["service_account"] = from.name, parts[2], parts[4], parts[6]
	}
	labels := map[string]any{}
	for k, v := range called.Labels {
		labels[k] = v
	}
	out := map[string]any{
		"source":      source,
		"destination": map[string]any{"namespace": called.Namespace, "service_account": called.ServiceAccount, "labels": labels, "port": port},
		"request":     map[string]any{"method": s.Method, "path": path, "host": host, "headers": headers, "segments": segments},
		"time":        map[string]any{"hour": now.Hour(), "weekday": int(now.Weekday())},
		"jwt":         map[string]any{},
	}
	if q.token.claims != nil {
		out["jwt"] = map[string]any{"claims": q.token.claims}
	}
	return out
}

func startCourt(t *testing.T) court {
	t.Helper()
	operatorKey, store, ports := keyPair(t, operatorName), xds.NewStore(nil), porttest.Free(t, 2)
	c := court{web: ports[0], free: ports[1], key: jwttest.NewKey(t, "a", "ES256"), lines: map[string]*channel{}}
	in := mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSPermissive, ConnectionAge: time.Hour, Telemetry: everything}
	for _, port := range ports {
		in.Ports = append(in.Ports, mesh.InboundPort{Port: int32(port), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 80})
	}
	listeners := map[string]proto.Message{}
	for i, port := range ports {
		l := envoy.Inbound(in)
		l.Name = fmt.Sprint(mesh.InboundListener, i)
		l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
		listeners[l.Name] = c.verifying(t, l)
	}
	web := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s := seen{r.Method, r.RequestURI, r.Host, map[string][]string{}}
		for name, values := range r.Header {
			s.Headers[strings.ToLower(name)] = values
		}
		_ = json.NewEncoder(w).Encode(s) // the caller sees what is missing
	})[0]
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID), unguarded(), c.judging(nil), listeners,
		map[string]proto.Message{mesh.AppHTTP1: app(mesh.AppHTTP1, web), mesh.AppHTTP2: app(mesh.AppHTTP2, web)})
	c.station = startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "cart")
	eventually(t, "the sidecar is ready", c.isReady)
	return c
}

// verifying has a listener verify tokens, before it goes by policies.
func (c court) verifying(t *testing.T, l *listenerv3.Listener) *listenerv3.Listener {
	t.Helper()
	verify := &hcmv3.HttpFilter{Name: "jwt", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wire.Any(c.verifier())}}
	for _, chain := range l.FilterChains {
		for _, f := range chain.Filters {
			if f.Name != "envoy.filters.network.http_connection_manager" {
				continue
			}
			m := &hcmv3.HttpConnectionManager{}
			inside(t, f.GetTypedConfig(), m, func() { m.HttpFilters = append([]*hcmv3.HttpFilter{verify}, m.HttpFilters...) })
		}
	}
	return l
}

// judging is the filter that goes by policies, at one port.
func (c court) judging(said []room.Decided) map[string]proto.Message {
	guards := mesh.InboundGuards{}
	if len(said) > 0 {
		guards.Ports = []mesh.GuardedPort{{Port: int32(c.web), By: said}}
	}
	return map[string]proto.Message{mesh.Guards: envoy.InboundGuards(guards)}
}

// judges has policies hold as soon as it returns.
func (c court) judges(t *testing.T, said []room.Decided) {
	t.Helper()
	commitTo(c.store, c.account, c.judging(said))
	c.knows(t)
	c.knows(t)
}

func (c court) verifier() *jwtv3.JwtAuthentication {
	none := &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_AllowMissing{AllowMissing: &emptypb.Empty{}}}
	it := &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: "it"}}
	return &jwtv3.JwtAuthentication{
		Providers: map[string]*jwtv3.JwtProvider{"it": {Issuer: opatest.Issuer, Forward: true, PayloadInMetadata: room.Claims, JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{
			LocalJwks: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: jwttest.Set(c.key)}},
		}}},
		Rules: []*jwtv3.RequirementRule{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			RequirementType: &jwtv3.RequirementRule_Requires{Requires: &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAny{
				RequiresAny: &jwtv3.JwtRequirementOrList{Requirements: []*jwtv3.JwtRequirement{it, none}},
			}}},
		}},
	}
}

// tokens are none, and some that are signed, of which one is altered.
func (c court) tokens(r *rand.Rand, n int) []token {
	out := []token{{}, {}, {}}
	for range n {
		claims := opatest.Claims(r)
		out = append(out, token{c.key.Token(claims), claims})
	}
	altered := strings.Split(out[3].text, ".")
	altered[1] = jwttest.Encode([]byte(`{"iss":"` + opatest.Issuer + `","sub":"ann"}`))
	return append(out, token{strings.Join(altered, "."), map[string]any{}}, token{"x", map[string]any{}})
}

// ask sends a request over the caller's connection to a port, and opens that first if there is none.
func (c court) ask(t *testing.T, port uint32, q request, from caller) (int, seen) {
	t.Helper()
	k := fmt.Sprint(port, from)
	if c.lines[k] == nil {
		c.lines[k] = c.open(t, port, from)
	}
	status, body := c.lines[k].send(t, q)
	if status == 0 || status == http.StatusBadRequest {
		c.lines[k].Close()
		delete(c.lines, k) // Envoy closes what makes no sense
	}
	var s seen
	if status == http.StatusOK {
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return status, s
}

// channel is an open connection.
type channel struct {
	net.Conn
	send func(*testing.T, request) (int, []byte)
}

func (c court) open(t *testing.T, port uint32, from caller) *channel {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from.from)}}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if from.name != "" {
		offer := "http/1.1"
		if from.http2 {
			offer = "h2"
		}
		chain, key := signed(t, strings.Fields(from.name)[0], strings.Fields(from.name)[1:]...)
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{"mesh-h1", offer}})
	}
	if from.http2 {
		return &channel{conn, byHTTP2(t, conn)}
	}
	return &channel{conn, byHTTP1(conn)}
}

func byHTTP1(conn net.Conn) func(*testing.T, request) (int, []byte) {
	answers := bufio.NewReader(conn)
	return func(t *testing.T, q request) (int, []byte) {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // of a socket that is open it cannot fail
		var text strings.Builder
		fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n", q.method, q.path, q.host)
		for _, h := range q.all() {
			fmt.Fprintf(&text, "%s: %s\r\n", h[0], h[1])
		}
		fmt.Fprint(conn, text.String()+"\r\n")
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			return 0, nil
		}
		body, _ := io.ReadAll(response.Body) // what is missing is no JSON
		return response.StatusCode, body
	}
}

func (q request) all() [][2]string {
	if q.token.text == "" {
		return q.headers
	}
	return append(q.headers[:len(q.headers):len(q.headers)], [2]string{"Authorization", "Bearer " + q.token.text})
}

func byHTTP2(t *testing.T, conn net.Conn) func(*testing.T, request) (int, []byte) {
	t.Helper()
	c := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if conn == nil {
			return nil, net.ErrClosed
		}
		defer func() { conn = nil }() // there is one
		return conn, nil
	}}
	c.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(c.CloseIdleConnections)
	return func(t *testing.T, q request) (int, []byte) {
		t.Helper()
		r := &http.Request{Method: q.method, URL: &url.URL{Scheme: "http", Host: "cart", Opaque: q.path}, Host: q.host, Header: http.Header{}}
		if path, query, has := strings.Cut(q.path, "?"); has {
			r.URL.Opaque, r.URL.RawQuery = path, query
		}
		for _, h := range q.all() {
			r.Header.Add(h[0], h[1])
		}
		response, err := c.RoundTrip(r)
		if err != nil {
			return 0, nil
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body) // what is missing is no JSON
		return response.StatusCode, body
	}
}
