package envoy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

var stock = envoy.Called{Namespace: "stock", Service: "stock", Port: 80}

func signals() logs {
	return logs{
		callerHTTP: []*accesslogv3.AccessLog{envoy.HTTPSignals(envoy.Source, stock)},
		callerTCP:  envoy.TCPSignals(envoy.Source, stock),
		appHTTP:    []*accesslogv3.AccessLog{envoy.HTTPSignals(envoy.Destination, stock)},
		appTCP:     envoy.TCPSignals(envoy.Destination, stock),
	}
}

// stockApp answers by path. On /slow it says that it was asked, and answers no more.
func stockApp(t *testing.T, asked chan<- struct{}) mesh.Endpoint {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/slow":
			close(asked)
			<-r.Context().Done()
		case "/grpc", "/grpc-odd":
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", map[string]string{"/grpc": "5", "/grpc-odd": "4711"}[r.URL.Path])
		}
	})[0]
}

// greeter is an app that speaks first, and then gives back what it gets.
func greeter(t *testing.T) mesh.Endpoint {
	t.Helper()
	return listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, greeting) // the client misses it if it fails
		_, _ = io.Copy(c, c)               // until the client is through
	})
}

const greeting = "220 ready\n"

// series are a scrape: the values by names with labels.
func series(e *envoytest.Envoy) map[string]string {
	all := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(string(e.Admin("/stats/prometheus"))))
	for lines.Scan() {
		if at := strings.LastIndex(lines.Text(), " "); at > 0 && !strings.HasPrefix(lines.Text(), "#") {
			all[lines.Text()[:at]] = lines.Text()[at+1:]
		}
	}
	return all
}

// counted waits for a series with these labels, and the value. A label that is wanted empty may be absent.
func counted(t *testing.T, e *envoytest.Envoy, value, name string, labels ...string) {
	t.Helper()
	matches := func(s string) bool {
		if !strings.HasPrefix(s, name+"{") {
			return false
		}
		for i := 0; i < len(labels); i += 2 {
			absent := labels[i+1] == "" && !strings.Contains(s, labels[i]+"=")
			if !absent && !strings.Contains(s, fmt.Sprintf(`%s=%q`, labels[i], labels[i+1])) {
				return false
			}
		}
		return true
	}
	var seen []string
	e.Until(fmt.Sprintf("%s%v is %s", name, labels, value), func() bool {
		seen = nil
		for s, v := range series(e) {
			if matches(s) {
				seen = append(seen, s+" "+v)
				if v == value {
					return true
				}
			}
		}
		return false
	})
	if len(seen) > 1 {
		t.Errorf("%s%v: more than one series: %s", name, labels, strings.Join(seen, "\n"))
	}
}

// Both sides count each request once, with both identities, wherever it ended.
func TestHTTPSignals(t *testing.T) {
	asked := make(chan struct{})
	h := startHop(t, signals(), stockApp(t, asked), greeter(t))
	for _, path := range []string{"/", "/", "/missing", "/nowhere"} {
		post(t, h, path)
	}
	for _, path := range []string{"/grpc", "/grpc-odd"} {
		post(t, h, path, "Content-Type", "application/grpc")
	}
	giveUp(t, h, "/slow", asked)

	who := []string{"source_principal", callerID, "destination_principal", appID,
		"destination_service_namespace", "stock", "destination_service_name", "stock", "destination_port", "80"}
	for e, side := range map[*envoytest.Envoy][]string{
		h.caller: append(who, "reporter", "source", "upstream_cluster", stockCluster),
		h.app:    append(slices.Clone(who), "reporter", "destination"),
	} {
		protocol := map[*envoytest.Envoy]string{h.caller: "HTTP/1.1", h.app: "HTTP/2"}[e]
		answered := slices.Concat(side, []string{"request_protocol", protocol, "response_flags", "-", "tls_version", "TLSv1.3"})
		requests := func(value string, more ...string) {
			counted(t, e, value, "envoy_weft_requests_total", slices.Concat(answered, more)...)
		}
		requests("2", "response_code", "200", "grpc_response_status", "")
		requests("1", "response_code", "404", "grpc_response_status", "")
		requests("1", "response_code", "200", "grpc_response_status", "5")
		requests("1", "response_code", "200", "grpc_response_status", "other")
		for _, bound := range []string{"10000", "+Inf"} {
			counted(t, e, "4", "envoy_weft_request_duration_milliseconds_bucket",
				slices.Concat(side, []string{"response_code", "200", "le", bound})...)
		}
		counted(t, e, "1", "envoy_weft_requests_total", slices.Concat(side, []string{"response_code", "0"})...)
	}
	counted(t, h.caller, "1", "envoy_weft_requests_total", "reporter", "source", "response_code", "503", "response_flags", "NC")
	counted(t, h.caller, "1", "envoy_weft_requests_total", "response_code", "0", "response_flags", "DC")
}

// What was not sent to any upstream is counted by the caller, and only by the caller.
func TestSignalsWithoutUpstream(t *testing.T) {
	l := signals()
	h := startHop(t, l, closedPort(t), closedPort(t))
	post(t, h, "/")
	c := dial(t, h.tcp)
	_, _ = io.ReadAll(c) // until the proxy ends it
	counted(t, h.app, "1", "envoy_weft_requests_total", "reporter", "destination", "response_code", "503", "response_flags", "UF", "source_principal", callerID)
	counted(t, h.caller, "1", "envoy_weft_requests_total", "reporter", "source", "response_code", "503", "destination_service_name", "stock")
	counted(t, h.app, "1", "envoy_weft_tcp_connections_closed_total", "response_flags", "UF,URX", "source_principal", callerID)
}

func TestTCPSignals(t *testing.T) {
	h := startHop(t, signals(), closedPort(t), greeter(t))
	echoed(t, h)
	for e, side := range map[*envoytest.Envoy][]string{
		h.caller: {"reporter", "source", "upstream_cluster", stockCluster + "/tcp"}, h.app: {"reporter", "destination"},
	} {
		side = append(side, "source_principal", callerID, "destination_principal", appID, "tls_version", "TLSv1.3", "destination_service_name", "stock")
		counted(t, e, "1", "envoy_weft_tcp_connections_opened_total", side...)
		counted(t, e, "1", "envoy_weft_tcp_connections_closed_total", append(side, "response_flags", "-")...)
		counted(t, e, "5", "envoy_weft_tcp_received_bytes_total", side...)
		counted(t, e, "15", "envoy_weft_tcp_sent_bytes_total", side...)
	}
}

func dial(t *testing.T, port uint32) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func post(t *testing.T, h hop, path string, headers ...string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", h.http, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// giveUp leaves when the app was asked.
func giveUp(t *testing.T, h hop, path string, asked <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", h.http, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = client.Do(request) // its error is the point
	}()
	<-asked
	cancel()
	<-done
}

// Listeners that are for the same count into the same series, and each has its own bound on them.
func TestSignalsOfListeners(t *testing.T) {
	ports := porttest.Free(t, 3)
	resources := &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{plain(stockCluster, serve(t, func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.WriteHeader(code)
	})[0])}}
	other := stock
	other.Service = "other"
	for i, to := range []envoy.Called{stock, stock, other} {
		resources.Listeners = append(resources.Listeners, listening(t, ports[i],
			manager([]*accesslogv3.AccessLog{envoy.HTTPSignals(envoy.Source, to)}, stockCluster)))
	}
	e := counting(t, resources)
	e.Until("Envoy is live", func() bool { return e.Counter("server.live") == 1 })
	post(t, hop{http: ports[0]}, "/200")
	post(t, hop{http: ports[1]}, "/200")
	counted(t, e, "2", "envoy_weft_requests_total", "destination_service_name", "stock", "response_code", "200")
	counted(t, e, "2", "envoy_weft_request_duration_milliseconds_count", "destination_service_name", "stock", "response_code", "200")
	for code := 200; code < 600; code++ {
		post(t, hop{http: ports[1]}, fmt.Sprintf("/%d", code))
	}
	post(t, hop{http: ports[2]}, "/200")
	counted(t, e, "1", "envoy_weft_requests_total", "destination_service_name", "other")
	n := 0
	for name := range series(e) {
		if strings.HasPrefix(name, `envoy_weft_requests_total{`) {
			n++
		}
	}
	if n != 301 {
		t.Errorf("%d series of requests, want 300 of one listener and one of the other", n)
	}
	if dropped := series(e)["envoy_server_stats_overflow_counter{}"]; dropped != "100" {
		t.Errorf("%s series were dropped, want 100", dropped)
	}
}
