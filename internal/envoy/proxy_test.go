package envoy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
)

// gateway is a real Envoy with our bootstrap, and with our resources put where a proxy without an
// operator finds them.
type gateway struct {
	url    string // of its one listener
	ready  string // of its own port for the kubelet
	stats  string
	admin  string
	log    *log
	signal func(os.Signal) error
	exited <-chan struct{}
}

// world is what a gateway is to serve.
type world struct {
	hosts     []mesh.VirtualHost
	endpoints map[string][]mesh.Endpoint // by cluster
	http2     string                     // the cluster that speaks it
	tls       map[string]*mesh.BackendTLS
	retries   *mesh.RetryBudget
	policies  []room.Decided // about every cluster
	secret    *mesh.Secret   // ends TLS with it
	clients   *mesh.ClientTLS
	limits    []room.Decided // what policies say of rates
	counts    *counts        // who is asked about those of all proxies; nil: nobody
	decisions v1alpha1.DecisionMode
	hears     *hearing // whom it tells of decisions; nil: nobody
	checks    *checker // whom it asks what it does not decide; nil: nobody
	drain     time.Duration
	overload  func(*overloadv3.OverloadManager) // changes when the proxy is; nil: nothing
}

const drainKey = "known to the kubelet"

func (w world) start(t *testing.T) *gateway {
	t.Helper()
	ports := porttest.Free(t, 4)
	own := sample
	own.AdminPort, own.ReadyPort, own.StatsPort = ports[0], ports[1], ports[2]
	own.DrainKey, own.Drain = drainKey, w.drain
	config := bootstrap(t, own)
	if w.overload != nil {
		w.overload(config.OverloadManager)
	}
	config.DynamicResources = nil
	config.StaticResources.Clusters = config.StaticResources.Clusters[1:] // the operator
	config.StaticResources.Listeners = append(config.StaticResources.Listeners, w.listener(t, ports[3]))
	for name, endpoints := range w.endpoints {
		config.StaticResources.Clusters = append(config.StaticResources.Clusters,
			w.static(name, "", endpoints), w.static(name, ownRetries, endpoints), w.static(name, ofMirror, endpoints), envoy.AskingCluster(mesh.Asking(name)))
	}
	if w.counts != nil {
		config.StaticResources.Clusters = append(config.StaticResources.Clusters, envoy.QuotaCluster(w.counts.owner, w.counts.files))
	}
	if w.hears != nil {
		config.StaticResources.Clusters = append(config.StaticResources.Clusters, envoy.AuthzCluster(w.hears.at, w.hears.files))
	}
	if w.checks != nil {
		config.StaticResources.Clusters = append(config.StaticResources.Clusters, w.checks.static())
	}
	g := run(t, config, w.drain)
	scheme := "http"
	if w.secret != nil {
		scheme = "https"
	}
	g.url = fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[3])
	g.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	g.ready, g.stats = fmt.Sprintf("http://127.0.0.1:%d", ports[1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	eventually(t, "the proxy is ready", func() bool { return status(g.ready+envoy.ReadyPath) == 200 })
	return g
}

func run(t *testing.T, config *bootstrapv3.Bootstrap, drain time.Duration) *gateway {
	t.Helper()
	body, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bootstrap.pb")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(envoytest.Path(t), "--config-path", file, "--concurrency", "1", "--disable-hot-restart",
		"--drain-strategy", "immediate", "--file-flush-interval-msec", "50", "--drain-time-s", strconv.Itoa(int(max(drain, time.Second).Seconds())), "-l", "warning",
		"--service-node", "shop/web", "--service-cluster", "shop/web")
	g := &gateway{log: &log{}}
	command.Stdout, command.Stderr = g.log, g.log
	if err := command.Start(); err != nil {
		t.Fatalf("start Envoy: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = command.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended by itself
		<-exited
		if t.Failed() {
			t.Logf("Envoy wrote:\n%s", g.log)
		}
	})
	g.signal, g.exited = command.Process.Signal, exited
	return g
}

// listener is ours, but for what comes from the operator being inside.
func (w world) listener(t *testing.T, port uint32) *listenerv3.Listener {
	chain := mesh.Chain{Name: "http", Routes: "routes"}
	if w.secret != nil {
		chain.Secrets, chain.Clients = []string{w.secret.Name}, w.clients
	}
	if len(w.limits) > 0 {
		chain.Shared, chain.Counted = []string{ratelimit.Section.Name}, w.counts != nil
	}
	l := envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: port, Chains: []mesh.Chain{chain}, Decisions: w.decisions})
	config := envoy.RouteConfiguration("routes")
	config.Vhds = nil
	for _, v := range w.hosts {
		config.VirtualHosts = append(config.VirtualHosts, envoy.VirtualHost(v))
	}
	manager := &hcmv3.HttpConnectionManager{}
	inside(t, l.FilterChains[0].Filters[0].GetTypedConfig(), manager, func() {
		manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: config}
		for _, f := range manager.HttpFilters {
			if f.GetConfigDiscovery() != nil {
				f.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.shared(f.Name)}
			}
		}
	})
	if w.secret != nil {
		context := &tlsv3.DownstreamTlsContext{}
		inside(t, l.FilterChains[0].TransportSocket.GetTypedConfig(), context, func() {
			context.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
			context.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{envoy.Secret(*w.secret).GetTlsCertificate()}
		})
	}
	return l
}

// shared is a filter that the Routes share.
func (w world) shared(name string) *anypb.Any {
	says := mesh.Shared{Section: ratelimit.Section.Name, Port: room.Port{Gateway: true, Routes: "routes"}, Says: w.limits}
	if _, counts := mesh.IsQuota(name); counts {
		return envoy.Quota(says).TypedConfig
	}
	return envoy.Shared(says).TypedConfig
}

// inside changes a packed message.
func inside(t *testing.T, packed *anypb.Any, m proto.Message, change func()) {
	t.Helper()
	if err := packed.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	change()
	if err := packed.MarshalFrom(m); err != nil {
		t.Fatal(err)
	}
}

// What ends the names of the clusters beside a backend's own.
const (
	ownRetries = "/own-retries"
	ofMirror   = "/mirror"
)

func (w world) static(backend, end string, endpoints []mesh.Endpoint) *clusterv3.Cluster {
	protocol := mesh.HTTP1
	if backend == w.http2 || strings.HasSuffix(backend, "/h2") {
		protocol = mesh.HTTP2
	}
	name := backend + end
	c := envoy.Cluster(mesh.Cluster{
		Name: name, Protocol: protocol, OwnRetries: end != "", Mirror: end == ofMirror,
		Sessions: mesh.IsSession(backend), Retries: w.retries, Policies: w.policies, TLS: w.tls[backend],
	})
	if c.EdsClusterConfig == nil {
		return c // it leads nowhere
	}
	c.EdsClusterConfig = nil
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: endpoints})
	return c
}

// host is a virtual host for any domain, on port 80.
func host(t *testing.T, text string) []mesh.VirtualHost {
	t.Helper()
	return []mesh.VirtualHost{{Routes: "routes", Domain: "*", Port: 80, Rules: rules(t, text)}}
}

// decidedHost gives each path a rule, of which policies say what is written of the path.
func decidedHost(t *testing.T, paths map[string]string, rule string, decide func(*testing.T, string) []room.Decided) []mesh.VirtualHost {
	t.Helper()
	var text strings.Builder
	var policies [][]room.Decided
	for path, says := range paths {
		text.WriteString("- matches: [{path: {value: " + path + "}}]\n" + rule)
		policies = append(policies, decide(t, says))
	}
	out := host(t, text.String())
	for i, d := range policies {
		out[0].Rules[i].Policies = d
	}
	return out
}

const toA = "  backendRefs: [{name: a}]\n"

// echoes are clusters each of which answers with what it got.
func echoes(t *testing.T, names ...string) map[string][]mesh.Endpoint {
	t.Helper()
	all := map[string][]mesh.Endpoint{}
	for _, name := range names {
		all[name] = serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "backend")
			_ = json.NewEncoder(w).Encode(echo{name, r.Method, r.RequestURI, r.Host, r.Header}) // the test sees what is missing
		})
	}
	return all
}

type echo struct {
	Backend, Method, Path, Host string
	Header                      http.Header
}

func serve(t *testing.T, handler http.HandlerFunc) []mesh.Endpoint {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return []mesh.Endpoint{endpointAt(server.Listener)}
}

// listen is an app that speaks TCP: answer has each connection, which ends when it returns.
func listen(t *testing.T, answer func(net.Conn)) mesh.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return endpointAt(l)
}

func endpointAt(l net.Listener) mesh.Endpoint {
	return mesh.Endpoint{Address: "127.0.0.1", Port: uint32(l.Addr().(*net.TCPAddr).Port)}
}

var client = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send makes a request; headers are in pairs. What came back as an echo is returned besides.
func (g *gateway) send(t *testing.T, method, path string, headers ...string) (*http.Response, echo) {
	t.Helper()
	response, body := receive(t, g.request(t, method, path, headers...))
	var got echo
	_ = json.Unmarshal(body, &got) // Envoy's own answers are no JSON
	return response, got
}

// request is one to a path; headers are in pairs.
func (g *gateway) request(t *testing.T, method, path string, headers ...string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(method, g.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	request.Host = request.Header.Get("Host")
	return request
}

// receive is the answer to a request, with its body.
func receive(t *testing.T, request *http.Request) (*http.Response, []byte) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func status(url string) int {
	response, err := client.Get(url)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// log is what a proxy writes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func keyPair(t *testing.T, name string) mesh.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return mesh.Secret{
		Name:  "secret/shop/tls",
		Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain}),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}
