package envoy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each story gives a virtual host's rules and the virtual host that comes of them.
func TestVirtualHost(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	var all []proto.Message
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			all = append(all, story(t, file))
		})
	}
	envoytest.Validate(t, all...)
}

func story(t *testing.T, file string) proto.Message {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v := mesh.VirtualHost{Routes: "gateway/shop/web/80", Domain: "*", Port: 80}
	var want []byte
	for _, f := range archive.Files {
		switch f.Name {
		case "rules.yaml":
			v.Rules = rules(t, string(f.Data))
		case "grpc.yaml":
			v = grpcHost(t, string(f.Data))
		case "virtualhost.yaml":
			want = f.Data
		default:
			t.Fatalf("unknown section %s", f.Name)
		}
	}
	host := envoy.VirtualHost(v)
	if got := toYAML(t, host); !bytes.Equal(got, want) {
		if !*update {
			t.Fatalf("%s: go test -update rewrites it; got\n%s", file, got)
		}
		archive.Files = []txtar.File{archive.Files[0], {Name: "virtualhost.yaml", Data: got}}
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return host
}

// toYAML spells fields as Envoy's documentation does.
func toYAML(t *testing.T, m proto.Message) []byte {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.JSONToYAML(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestResources(t *testing.T) {
	https := []mesh.Chain{
		{Name: "shop", Hostname: "shop.example.com", Routes: "gateway/shop/web/443/shop", Secrets: []string{"secret/shop/tls"}},
		{Name: "any", Routes: "gateway/shop/web/443/any", Secrets: []string{"secret/shop/rsa", "secret/shop/ecdsa"}},
	}
	asked := []mesh.Chain{https[0], https[1]}
	asked[0].Clients = &mesh.ClientTLS{Authorities: storedAuthority(t), Required: true}
	asked[1].Clients = &mesh.ClientTLS{Authorities: storedAuthority(t)}
	through := []mesh.Chain{
		{Name: "through *.example.com", Hostname: "*.example.com", Split: "gateway/shop/web/443/through/*.example.com"},
		{Name: "ended stock.example.com", Hostname: "stock.example.com", Secrets: []string{"secret/shop/tls"}, Split: "gateway/shop/web/443/ended/stock.example.com"},
	}
	sets := []mesh.Chain{
		{Name: "cart/edge/web", Hostname: "cart.example.com", Routes: "gateway/shop/web/443/cart/edge/web", Secrets: []string{"secret/cart/tls"}},
		{Name: "stock/edge/web", Hostname: "stock.example.com", Routes: "gateway/shop/web/443/stock/edge/web", Secrets: []string{"secret/stock/tls"}},
	}
	resources := map[string]proto.Message{
		"listener-sets":           envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: 443, Chains: append(sets, https...)}),
		"routes-set":              envoy.RouteConfiguration(sets[0].Routes),
		"routes-fault":            envoy.ServiceRoutes(faulty(t, map[string]string{"/late": everyFault})[0]),
		"routes-match":            envoy.ServiceRoutes(narrowedTo(t, "outbound/shop/cart/80", map[string]string{"/ours": ofWeb})),
		"routes-match-cel":        envoy.ServiceRoutes(rulesForAnn(t)),
		"routes-match-claims":     envoy.ServiceRoutes(rulesForGold(t)),
		"virtualhost-compression": envoy.VirtualHost(decidedHost(t, map[string]string{"/page": everyCompression}, toA, compression)[0]),
		"listener-http": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: 80,
			Chains: []mesh.Chain{{Name: "http", Routes: "gateway/shop/web/80"}}}),
		"listener-limits": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: 80,
			Chains: []mesh.Chain{{Name: "http", Routes: "gateway/shop/web/80", Shared: []string{"rateLimit"}}}}),
		"limits": envoy.Shared(mesh.Shared{Name: "shared/rateLimit/gateway/shop/web/80", Section: "rateLimit", Port: room.Port{Gateway: true}, Says: []room.Decided{
			limit(t, "shop/limits", `{limits: [{requests: 100, per: 1m, burst: 20}, {requests: 5, by: [{type: Header, header: X-User}, {type: SourceIP}, {type: Caller}, {type: Path}]}]}`),
			limit(t, "shop/silent", `{headers: None, limits: [{requests: 1, by: [{type: Method, value: POST}]}]}`),
		}}),
		"limits-none": envoy.Shared(mesh.Shared{Name: "shared/rateLimit/gateway/shop/web/80", Section: "rateLimit"}),
		"listener-admission": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: 80,
			Chains: []mesh.Chain{{Name: "http", Routes: "gateway/shop/web/80", Shared: []string{"rateLimit", "admissionControl"}}}}),
		"listener-modules": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/80", Port: 80,
			Chains: []mesh.Chain{{Name: "http", Routes: "gateway/shop/web/80", Apart: []mesh.Apart{smallModules(t)}}}}),
		"modules":                envoy.Apart(smallModules(t)),
		"admission":              sharedAdmission("shared/admissionControl/outbound/shop/cart/80", admittedRules(t)),
		"admission-none":         sharedAdmission("shared/admissionControl/outbound/shop/cart/80", nil),
		"routes-admission":       envoy.ServiceRoutes(mesh.VirtualHost{Routes: "outbound/shop/cart/80/h2", Domain: "*", Port: 80, Rules: admittedRules(t)}),
		"listener-https":         envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: 443, Chains: https, Telemetry: everything}),
		"listener-tls":           envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: 443, Chains: append(through, https...)}),
		"listener-https-clients": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: 443, Chains: asked}),
		"cluster-backend-tls": envoy.Cluster(mesh.Cluster{Name: "service/shop/pay/443/backend-tls", Endpoints: "service/shop/pay/443", Protocol: mesh.HTTP1,
			TLS: &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("pay.internal")}, Authorities: storedAuthority(t)}}),
		"cluster-backend-tls-http2": envoy.Cluster(mesh.Cluster{Name: "service/shop/pay/443/h2/backend-tls", Endpoints: "service/shop/pay/443", Protocol: mesh.HTTP2,
			TLS: &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("other.internal"), uri("spiffe://shop.test/pay")}, Authorities: storedAuthority(t)}}),
		"cluster-backend-tls-certificate": envoy.Cluster(mesh.Cluster{Name: "service/shop/pay/445/backend-tls", Endpoints: "service/shop/pay/445", Protocol: mesh.HTTP1,
			TLS: &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("pay.internal")}, Authorities: storedAuthority(t), Certificate: "secret/shop/client"}}),
		"cluster-backend-tls-none": envoy.Cluster(mesh.Cluster{Name: "service/shop/pay/444/backend-tls", Endpoints: "service/shop/pay/444", Protocol: mesh.HTTP1,
			TLS: &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("pay.internal")}}}),
		"cluster-tls":  envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/443/tls", Endpoints: "service/shop/cart/443", Protocol: mesh.TLS}),
		"listener-tcp": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/9000", Port: 9000, Chains: []mesh.Chain{{Name: "tcp", Split: "gateway/shop/web/9000", Raw: true}}}),
		"listener-udp": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/53/udp", Port: 53, Datagrams: "gateway/shop/web/53/udp"}),
		"split": envoy.Split(mesh.Split{Name: "gateway/shop/web/9000", Unresolved: 1, Telemetry: everything,
			Backends: []mesh.Backend{{Cluster: "service/shop/cart/80/tcp", Weight: 3}, {Cluster: "service/shop/stock/443/tcp/backend-tls", Weight: 1}}}),
		"split-none":     envoy.Split(mesh.Split{Name: "gateway/shop/web/9000"}),
		"cluster-asking": envoy.AskingCluster(mesh.Asking("service/shop/authz/80")),
		"cluster-udp":    envoy.DatagramCluster("gateway/shop/web/53/udp"),
		"endpoints-udp": envoy.Endpoints(mesh.Endpoints{Cluster: "gateway/shop/web/53/udp", Addresses: []mesh.Endpoint{
			{Address: "10.0.1.1", Port: 53, Weight: 3}, {Address: "fd00::1", Port: 53, Weight: 1},
		}}),
		"routes": envoy.RouteConfiguration("gateway/shop/web/80"),
		"cluster-session": envoy.Cluster(mesh.Cluster{Name: "session/HTTPRoute/shop/web/0", Endpoints: "session/HTTPRoute/shop/web/0", Protocol: mesh.HTTP1,
			Sessions: true, Retries: &mesh.RetryBudget{Percent: 5, Least: 1}}),
		"endpoints-session": envoy.Endpoints(mesh.Endpoints{Cluster: "session/HTTPRoute/shop/web/0", Addresses: []mesh.Endpoint{
			{Address: "10.0.1.1", Port: 8080, Weight: 3}, {Address: "10.0.1.2", Port: 8080, Weight: 1, Idle: true},
		}}),
		"cluster-balanced-ring": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/88", Protocol: mesh.HTTP1, Policies: balancing(t,
			"{algorithm: RingHash, ringSize: 4096, panicThreshold: 20, hash: [{type: Header, name: x-user}, {type: QueryParameter, name: user}, {type: Cookie, name: user, ttl: 1h}]}")}),
		"cluster-balanced-maglev": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/81/tcp", Protocol: mesh.TCP, Policies: balancing(t, "{algorithm: Maglev, hash: [{type: SourceIP}]}")}),
		"cluster-balanced-weighted": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/89", Protocol: mesh.HTTP1, Policies: balancing(t,
			`{algorithm: ClientSideWeighted, slowStart: {window: 30s, aggression: "1.5"}, clientSideWeighted: {metrics: [named_metrics.queue], blackout: 1s}}`)}),
		"cluster-balanced-slow": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/90", Protocol: mesh.HTTP1, Policies: balancing(t, `{choices: 3, algorithm: LeastRequest, slowStart: {window: 30s, aggression: "1.5"}}`)}),
		"cluster-balanced-session": envoy.Cluster(mesh.Cluster{Name: "session/HTTPRoute/shop/web/1", Protocol: mesh.HTTP1, Sessions: true, Policies: balancing(t,
			"{algorithm: Maglev, panicThreshold: 20, hash: [{type: Header, name: x-user}]}")}),
		"cluster-locality": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/91", Protocol: mesh.HTTP1, Policies: []room.Decided{near()}}),
		"cluster-locality-ring": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/92", Protocol: mesh.HTTP1,
			Policies: append(balancing(t, "{algorithm: RingHash, panicThreshold: 20, hash: [{type: Header, name: x-user}]}"), near())}),
		"cluster-locality-weighted": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/93", Protocol: mesh.HTTP1, Policies: append(balancing(t, "{algorithm: ClientSideWeighted}"), near())}),
		"cluster-locality-session":  envoy.Cluster(mesh.Cluster{Name: "session/HTTPRoute/shop/web/2", Protocol: mesh.HTTP1, Sessions: true, Policies: []room.Decided{near()}}),
		"endpoints-locality": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/91", Localities: []mesh.Locality{
			{Region: "eu", Zone: "a", Within: "rack", Weight: 7000, Addresses: []mesh.Endpoint{{Address: "10.0.1.1", Port: 8080}}},
			{Region: "eu", Zone: "a", Weight: 3000, Addresses: []mesh.Endpoint{{Address: "10.0.1.2", Port: 8080}}},
			{Priority: 1, Weight: 10_000, Addresses: []mesh.Endpoint{{Address: "fd00::1", Port: 8080}}},
		}}),
		"cluster-http1":       envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/80", Protocol: mesh.HTTP1}),
		"cluster-own-retries": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/80/own-retries", Protocol: mesh.HTTP1, OwnRetries: true}),
		"cluster-mirror":      envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/80/mirror", Protocol: mesh.HTTP1, OwnRetries: true, Mirror: true}),
		"cluster-http2":       envoy.Cluster(mesh.Cluster{Name: "service/shop/stock/81", Protocol: mesh.HTTP2}),
		"endpoints": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/80", Addresses: []mesh.Endpoint{
			{Address: "10.0.1.2", Port: 8080, Zone: "b"}, {Address: "fd00::1", Port: 8080}, {Address: "10.0.1.1", Port: 8080, Zone: "b"},
		}}),
		"endpoints-none": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/80"}),
		"bootstrap":      bootstrap(t, sample),
		"signals-http":   listening(t, 80, manager(append(signals().callerHTTP, signals().appHTTP...), stockCluster)),
		"signals-tcp":    listening(t, 80, tcpProxy(append(signals().callerTCP, signals().appTCP...), stockCluster)),
		"logs-http":      listening(t, 80, manager(append(logging(everything).callerHTTP, logging(everything).appHTTP...), stockCluster)),
		"logs-tcp":       listening(t, 80, tcpProxy(append(logging(v1alpha1.Telemetry{}).callerTCP, logging(everything).appTCP...), stockCluster)),
		"inbound":        listening(t, 80, inbound()),
	}
	beside := sample
	beside.Sidecar = true
	resources["bootstrap-sidecar"] = bootstrap(t, beside)
	var all []proto.Message
	for name, m := range resources {
		golden(t, name, m)
		if !strings.HasPrefix(name, "bootstrap") { // a whole configuration of its own
			all = append(all, m)
		}
	}
	all = append(all, envoy.Secret(keyPair(t, "shop.example.com")))
	envoytest.Validate(t, all...)
}

func golden(t *testing.T, name string, m proto.Message) {
	file := filepath.Join("testdata", name+".yaml")
	got := toYAML(t, m)
	want, err := os.ReadFile(file)
	if err == nil && bytes.Equal(got, want) {
		return
	}
	if !*update {
		t.Errorf("%s: go test -update rewrites it; got\n%s", file, got)
	} else if err := os.WriteFile(file, got, 0o644); err != nil {
		t.Fatal(err)
	}
}

var sample = envoy.Proxy{
	XDSAddress: "weft-xds.weft-system.svc:15010", XDSName: "weft-xds.weft-system.svc",
	TokenSDSPath: "/etc/weft/token/sds.yaml", RootsSDSPath: "/etc/weft/roots/sds.yaml",
	Runtime: map[string]any{"weft.log_status": 0}, Memory: 1 << 30,
	DrainHeader: "x-weft-drain", DrainKey: "known to the kubelet", Drain: 30 * time.Second,
	AdminPort: 15000, ReadyPort: 15021, StatsPort: 15090,
}

func bootstrap(t *testing.T, p envoy.Proxy) *bootstrapv3.Bootstrap {
	t.Helper()
	body, err := envoy.Bootstrap(p)
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(body, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBootstrapRefuses(t *testing.T) {
	for want, p := range map[string]envoy.Proxy{
		`xDS address "weft-xds": address weft-xds: missing port in address`: {XDSAddress: "weft-xds"},
		`xDS address "weft-xds:http"`:                                       {XDSAddress: "weft-xds:http"},
		`runtime values: `:                                                  {XDSAddress: "weft-xds:1", Runtime: map[string]any{"a": make(chan int)}},
	} {
		if _, err := envoy.Bootstrap(p); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
