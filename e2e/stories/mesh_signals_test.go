package stories

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// observed are a caller and an application in the mesh, a Gateway in front of the application, and a
// Service that nobody is behind.
type observed struct {
	*stage.Scene
	t       *testing.T
	caller  *stage.Caller
	gateway *stage.Gateway
	app     corev1.Pod
}

const nobody = `{apiVersion: v1, kind: Service, metadata: {name: nobody}, spec: {selector: {app: nobody}, ports: [{name: a, port: 80, appProtocol: http}]}}`

func newObserved(t *testing.T, name string) *observed {
	t.Helper()
	o := &observed{Scene: stage.NewMeshed(t, name), t: t}
	o.OnThisMachine()
	echo(t, o.Scene, "echo", "declared", "{}")
	caller(t, o.Scene, "caller", false)
	o.Apply(nobody)
	o.Apply(manifest(t, "mesh/gateway.yaml"))
	o.Rollout("echo")
	o.caller, o.gateway, o.app = o.Caller("caller"), o.Gateway("front"), o.Pod("echo")
	for _, w := range waysOf(call.HTTP, call.GRPC, call.TCP) {
		o.caller.Answered(call.Request{Protocol: w.protocol, Address: at("echo", w.service)}, bySidecar)
	}
	answered(t, o.Scene, o.throughGateway("/"))
	return o
}

func (o *observed) throughGateway(path string) call.Request {
	return call.Request{Protocol: call.HTTP, Address: o.gateway.At(80), Host: "echo.test", Path: path}
}

// counted is one series that must grow, and by how much.
type counted struct {
	who    string
	pods   func() []corev1.Pod
	name   string
	labels stage.Labels
	by     float64
}

// TestGoldenSignals sends known numbers of requests and connections, and reads on both sides how many
// of them were counted, from whom to whom.
func TestGoldenSignals(t *testing.T) {
	o := newObserved(t, "signals")
	const n = 20
	o.counts("HTTP between pods", n, func() { o.calls(n, call.Request{Protocol: call.HTTP, Address: "echo:80"}) },
		o.source("envoy_weft_requests_total", "80", stage.Labels{"request_protocol": "HTTP/1.1", "response_code": "200", "response_flags": "-", "grpc_response_status": ""}),
		o.destination("envoy_weft_requests_total", "80", "caller", stage.Labels{"request_protocol": "HTTP/2", "response_code": "200", "response_flags": "-"}))
	o.counts("an answer that is an error", 3, func() { o.calls(3, call.Request{Protocol: call.HTTP, Address: "echo:80", Path: "/socket"}) },
		o.source("envoy_weft_requests_total", "80", stage.Labels{"response_code": "400", "response_flags": "-"}),
		o.destination("envoy_weft_requests_total", "80", "caller", stage.Labels{"response_code": "400"}))
	o.counts("gRPC between pods", n, func() { o.calls(n, call.Request{Protocol: call.GRPC, Address: "echo:90", Text: "hello"}) },
		o.source("envoy_weft_requests_total", "90", stage.Labels{"request_protocol": "HTTP/2", "response_code": "200", "grpc_response_status": "0"}),
		o.destination("envoy_weft_requests_total", "90", "caller", stage.Labels{"grpc_response_status": "0"}))
	o.counts("TCP between pods", n, func() { o.calls(n, call.Request{Protocol: call.TCP, Address: "echo:9000", Text: "hello"}) },
		o.source("envoy_weft_tcp_connections_opened_total", "9000", nil),
		o.source("envoy_weft_tcp_connections_closed_total", "9000", stage.Labels{"response_flags": "-"}),
		o.destination("envoy_weft_tcp_connections_opened_total", "9000", "caller", nil),
		o.destination("envoy_weft_tcp_connections_closed_total", "9000", "caller", stage.Labels{"response_flags": "-"}),
		counted{"caller", o.callers, "envoy_weft_tcp_received_bytes_total", stage.Labels{"reporter": "source", "destination_service_name": "echo"}, n * float64(len("hello\n"))})
	o.counts("HTTP through the Gateway", n, func() {
		for range n {
			if out := call.Do(t.Context(), o.throughGateway("/")); out.Err() != nil {
				t.Error(out.Err())
			}
		}
	},
		counted{"Gateway", o.gateway.Proxies, "envoy_weft_requests_total", stage.Labels{"reporter": "source", "source_principal": identity(o.Scene, "front-weft"),
			"destination_principal": identity(o.Scene, "echo"), "upstream_cluster": "service/" + o.Namespace + "/echo/80", "response_code": "200", "tls_version": "TLSv1.3"}, n},
		o.destination("envoy_weft_requests_total", "80", "front-weft", stage.Labels{"response_code": "200"}))
	o.counts("requests that reach nobody", 5, func() { o.calls(5, call.Request{Protocol: call.HTTP, Address: "nobody:80"}) },
		counted{"caller", o.callers, "envoy_weft_requests_total", stage.Labels{"reporter": "source", "destination_service_name": "nobody", "destination_service_namespace": o.Namespace,
			"destination_port": "80", "response_code": "503", "response_flags": "UH", "source_principal": "", "destination_principal": "", "tls_version": ""}, 5})
	o.durations()
	o.sizes()
}

// durations wants the time of each request to be known. Envoy merges histograms every five seconds.
func (o *observed) durations() {
	o.t.Helper()
	service := stage.Labels{"reporter": "source", "destination_service_name": "echo", "destination_port": "80", "response_code": "200"}
	o.Until(30*time.Second, "every request has a duration", func(context.Context) error {
		now := o.Scrape(o.caller.Pod)
		requests, durations := now.Sum("envoy_weft_requests_total", service), now.Sum("envoy_weft_request_duration_milliseconds_count", service)
		if requests == 0 || durations != requests {
			return fmt.Errorf("%v requests, %v durations", requests, durations)
		}
		return nil
	})
}

func (o *observed) callers() []corev1.Pod { return []corev1.Pod{o.caller.Pod} }
func (o *observed) apps() []corev1.Pod    { return []corev1.Pod{o.app} }

// calls makes n calls, whatever comes of them.
func (o *observed) calls(n int, r call.Request) {
	o.t.Helper()
	if made := len(o.caller.Calls(n, r)); made != n {
		o.t.Fatalf("%d calls were made, not %d", made, n)
	}
}

// service are the labels of what is between the caller and the application.
func (o *observed) service(reporter, from, port string) stage.Labels {
	return stage.Labels{"reporter": reporter, "source_principal": identity(o.Scene, from), "destination_principal": identity(o.Scene, "echo"),
		"destination_service_namespace": o.Namespace, "destination_service_name": "echo", "destination_port": port, "tls_version": "TLSv1.3"}
}

func (o *observed) source(name, port string, more stage.Labels) counted {
	labels := o.service("source", "caller", port)
	maps.Copy(labels, more)
	return counted{"caller", o.callers, name, labels, 0}
}

func (o *observed) destination(name, port, from string, more stage.Labels) counted {
	labels := o.service("destination", from, port)
	maps.Copy(labels, more)
	return counted{"application", o.apps, name, labels, 0}
}

// counts wants each series to have grown by n, or by what it says, because of what is done.
func (o *observed) counts(what string, n float64, do func(), wanted ...counted) {
	o.t.Helper()
	before := make([]float64, len(wanted))
	for i, c := range wanted {
		before[i] = o.Scrape(c.pods()...).Sum(c.name, c.labels)
	}
	do()
	for i, c := range wanted {
		if c.by == 0 {
			c.by = n
		}
		o.Until(30*time.Second, what+": "+c.who+" counts "+c.name, func(context.Context) error {
			now := o.Scrape(c.pods()...)
			if grown := now.Sum(c.name, c.labels) - before[i]; grown != c.by {
				return fmt.Errorf("%v with %v, want %v; there are\n%s", grown, c.labels, c.by, now.Of(c.name))
			}
			return nil
		})
	}
	o.Step("%s: counted exactly, %d series", what, len(wanted))
}

// sizes prints how large a scrape is, and how much memory a proxy has.
func (o *observed) sizes() {
	o.t.Helper()
	for who, pods := range map[string][]corev1.Pod{"caller's sidecar": o.callers(), "application's sidecar": o.apps(), "Gateway's proxies": o.gateway.Proxies()} {
		now := o.Scrape(pods...)
		o.t.Logf("%s (%d): a scrape is %d bytes, %.1f MB of heap are allocated, %.0f listeners", who, len(pods), now.Size/len(pods),
			now.Sum("envoy_server_memory_allocated", nil)/float64(len(pods))/1e6, now.Sum("envoy_listener_manager_total_listeners_active", nil)/float64(len(pods)))
	}
}
