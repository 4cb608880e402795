package envoy_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// knock is an authenticator that knows one token, and lets the test open the door.
type knock struct {
	token string
	heard chan string
	open  chan bool
}

func (k knock) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	k.heard <- token
	<-k.open
	if token != k.token {
		return xds.Identity{}, errors.New("unknown token")
	}
	return xds.Identity{Namespace: "shop", Pod: "web", Expires: time.Now().Add(time.Hour)}, nil
}

// served is a proxy to be started, which an operator lets in at once, what that serves, and free ports, of which
// the proxy's own are the first three.
func served(t *testing.T, free int) (envoy.Proxy, *xds.Store, []uint32) {
	t.Helper()
	const name = "weft-xds.weft-system.svc"
	certificate, store, ports := keyPair(t, name), xds.NewStore(nil), porttest.Free(t, free)
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	own := sample
	own.XDSAddress, own.XDSName = operator(t, store, certificate, door), name
	own.AdminPort, own.ReadyPort, own.StatsPort = ports[0], ports[1], ports[2]
	own.TokenSDSPath, own.RootsSDSPath = files(t, door.token, certificate.Chain)
	return own, store, ports
}

// A proxy with nothing but its bootstrap finds the operator, says who it is, is not ready before it has
// its configuration, and from then on follows each change.
func TestOperator(t *testing.T) {
	const name = "weft-xds.weft-system.svc"
	certificate := keyPair(t, name)
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	store := xds.NewStore(nil)
	at := operator(t, store, certificate, door)
	ports := porttest.Free(t, 5)
	p := sample
	p.XDSAddress, p.XDSName = at, name
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	shop := keyPair(t, "shop.test")
	shop.Name = "secret/shop/tls"
	backend := echoes(t, "service/shop/cart/80")
	plain := virtualHost(t, "gateway/shop/web/80", "*.test", `[{matches: [{path: {value: /a}}], backendRefs: [{name: service/shop/cart/80}]}]`)
	commit(store, map[string]proto.Message{
		"gateway/shop/web/80": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: ports[3],
			Chains: []mesh.Chain{{Name: "http", Routes: "gateway/shop/web/80"}}}),
		"gateway/shop/web/443": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: ports[4],
			Chains: []mesh.Chain{{Name: "https", Hostname: "shop.test", Routes: "gateway/shop/web/443/https", Secrets: []string{shop.Name}}}}),
		shop.Name:              envoy.Secret(shop),
		"service/shop/cart/80": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/80", Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		"service/shop/cart/80":       envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/80", Addresses: backend["service/shop/cart/80"]}),
		"gateway/shop/web/80":        envoy.RouteConfiguration("gateway/shop/web/80"),
		"gateway/shop/web/443/https": envoy.RouteConfiguration("gateway/shop/web/443/https"),
	}, map[string]proto.Message{
		plain.Name(): envoy.VirtualHost(plain),
		"gateway/shop/web/443/https/shop.test": envoy.VirtualHost(virtualHost(t, "gateway/shop/web/443/https", "shop.test",
			`[{backendRefs: [{name: service/shop/cart/80}]}]`)),
	})

	g := run(t, bootstrap(t, p), 0)
	g.ready = fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)
	if got := <-door.heard; got != door.token {
		t.Fatalf("the operator heard the token %q", got)
	}
	if !g.refuses() {
		t.Error("the port for probes is open without configuration")
	}
	close(door.open)
	eventually(t, "the proxy is ready", func() bool { return status(g.ready+envoy.ReadyPath) == 200 })
	g.url = "http://127.0.0.1:" + fmt.Sprint(ports[3])
	expect(t, g, "a.test/a", 200)
	expect(t, g, "a.test/b", 404)
	expect(t, g, "other/a", 404)
	overTLS(t, fmt.Sprint(ports[4]))

	other := virtualHost(t, "gateway/shop/web/80", "b.test", `[{matches: [{path: {value: /b}}], backendRefs: [{name: service/shop/cart/80}]}]`)
	commit(store, map[string]proto.Message{other.Name(): envoy.VirtualHost(other)})
	eventually(t, "a new domain is served", func() bool { return g.status(t, "b.test/b") == 200 })
	expect(t, g, "b.test/a", 404)
	expect(t, g, "a.test/a", 200)
	plain.Rules = rules(t, `[{matches: [{path: {value: /c}}], backendRefs: [{name: service/shop/cart/80}]}]`)
	commit(store, map[string]proto.Message{plain.Name(): envoy.VirtualHost(plain)})
	eventually(t, "a changed domain is served anew", func() bool { return g.status(t, "a.test/c") == 200 && g.status(t, "a.test/a") == 404 })
	commit(store, map[string]proto.Message{other.Name(): (*routev3.VirtualHost)(nil)})
	eventually(t, "a removed domain is gone", func() bool { return g.status(t, "b.test/c") == 200 && g.status(t, "b.test/b") == 404 })
}

func expect(t *testing.T, g *gateway, at string, want int) {
	t.Helper()
	if got := g.status(t, at); got != want {
		t.Errorf("%s: %d, want %d", at, got, want)
	}
}

// status of a GET at host/path.
func (g *gateway) status(t *testing.T, at string) int {
	t.Helper()
	host, path, _ := strings.Cut(at, "/")
	response, _ := g.send(t, "GET", "/"+path, "Host", host)
	return response.StatusCode
}

func overTLS(t *testing.T, port string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	response, err := c.Get("https://shop.test/")
	if err != nil || response.StatusCode != 200 || response.ProtoMajor != 2 {
		t.Errorf("over TLS: %v, %v", response, err)
	}
}

// operator serves a store as the operator does.
func operator(t *testing.T, store *xds.Store, certificate mesh.Secret, who xds.Authenticator) string {
	t.Helper()
	return operate(t, certificate, xds.Options{Store: store, Facts: xds.NewFacts(), Authenticator: who})
}

func operate(t *testing.T, certificate mesh.Secret, o xds.Options) string {
	t.Helper()
	pair, err := tls.X509KeyPair(certificate.Chain, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	o.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	o.ScopeOf = func(who xds.Identity) (string, bool) { return cmp.Or(who.ServiceAccount, "gateway"), true }
	server := xds.NewServer(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Stop(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// files are a proxy's, as they are mounted.
func files(t *testing.T, token string, roots []byte) (tokenSDS, rootsSDS string) {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, content []byte, err error) string {
		file := filepath.Join(folder, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(file), 0o700)
		}
		if err == nil {
			err = os.WriteFile(file, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	tokenFile, err := envoy.TokenFile(write("token/token", []byte(token), nil))
	tokenSDS = write("token-sds/sds.yaml", tokenFile, err)
	rootsFile, err := envoy.RootsFile(write("roots/ca.crt", roots, nil))
	return tokenSDS, write("roots-sds/sds.yaml", rootsFile, err)
}

// commit puts messages into the scope "gateway"; nil ones are gone. Names are per type.
func commit(store *xds.Store, groups ...map[string]proto.Message) {
	commitTo(store, "gateway", groups...)
}

// commitTo is commit for any scope. What two of them have under one name is not the same.
func commitTo(store *xds.Store, scope string, groups ...map[string]proto.Message) {
	c := xds.Change{Resources: map[xds.Resource]*discovery.Resource{}, Scopes: map[string]map[xds.Name]*xds.Variant{scope: {}}}
	variant := xds.Variant(scope)
	for _, group := range groups {
		for name, m := range group {
			n := xds.Name{Type: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Name: name}
			at := xds.Resource{Name: n, Variant: variant}
			if m.ProtoReflect().IsValid() {
				c.Resources[at], c.Scopes[scope][n] = xds.Marshal(name, m), &variant
			} else {
				c.Resources[at], c.Scopes[scope][n] = nil, nil
			}
		}
	}
	store.Commit(c)
}

func virtualHost(t *testing.T, routes, domain, text string) mesh.VirtualHost {
	t.Helper()
	return mesh.VirtualHost{Routes: routes, Domain: domain, Port: 80, Rules: rules(t, text)}
}

// Whoever has a certificate of the right roots but another name gets no token.
func TestImpostor(t *testing.T) {
	t.Parallel()
	certificate := keyPair(t, "weft-xds.elsewhere.svc")
	door := knock{heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	ports := porttest.Free(t, 3)
	p := sample
	p.XDSAddress = operator(t, xds.NewStore(nil), certificate, door)
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, "a secret", certificate.Chain)
	g := run(t, bootstrap(t, p), 0)
	eventually(t, "the proxy refuses the certificate", func() bool { return strings.Contains(g.log.String(), "CERTIFICATE_VERIFY_FAILED") })
	select {
	case <-door.heard:
		t.Error("the token was sent")
	default:
	}
}
