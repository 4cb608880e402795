package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestAccessLogs has the Mesh say what is logged, and reads the logs of sidecars and a Gateway.
func TestAccessLogs(t *testing.T) {
	o := newObserved(t, "logs")
	steady(t, o.Scene, 2*time.Minute) // makes the Mesh where there is none
	t.Cleanup(func() {
		if err := o.setTelemetry(context.Background(), "null"); err != nil {
			t.Error(err)
		}
	})

	o.telemetry(`{"accessLogs":"Sampled","samplePercent":100}`)
	o.sampled()
	o.telemetry(`{"accessLogs":"Errors","samplePercent":null}`)
	o.errorsOnly()
	o.telemetry(`{"accessLogs":"Off"}`)
	silent := o.silently()
	o.telemetry(`{"accessLogs":"Errors"}`)
	failing := "/" + word("failing")
	o.fails(failing)
	o.line("caller", o.callers, failing)
	for _, path := range silent {
		if all := o.lines(o.callers(), path); len(all) > 0 {
			t.Errorf("with accessLogs: Off there is a line: %v", all)
		}
	}
}

// telemetry sets the Mesh's, a JSON value, and waits until each proxy has taken it.
func (o *observed) telemetry(value string) {
	o.t.Helper()
	before := map[string]float64{}
	for _, pod := range o.proxies() {
		before[pod.Name] = o.updates(pod)
	}
	if err := o.setTelemetry(o.t.Context(), value); err != nil {
		o.t.Fatal(err)
	}
	o.Until(time.Minute, "proxies take "+value, func(context.Context) error {
		for _, pod := range o.proxies() {
			if o.updates(pod) == before[pod.Name] {
				return fmt.Errorf("pod %s has not", pod.Name)
			}
		}
		return nil
	})
	o.Step("telemetry: %s", value)
}

func (o *observed) setTelemetry(ctx context.Context, value string) error {
	_, err := o.Kubectl(ctx, "patch", "mesh", "default", "--type=merge", "-p", `{"spec":{"telemetry":`+value+`}}`)
	return err
}

func (o *observed) proxies() []corev1.Pod {
	return append(o.gateway.Proxies(), o.caller.Pod, o.app)
}

// updates is how often a proxy's listeners have changed.
func (o *observed) updates(pod corev1.Pod) float64 {
	o.t.Helper()
	return o.Scrape(pod).Sum("envoy_listener_manager_lds_update_success", nil)
}

// sampled wants a line of every request and connection, with who spoke to whom and what ties the
// lines of one request together.
func (o *observed) sampled() {
	o.t.Helper()
	path, id, parent := "/"+word("sampled"), word("id"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	request := call.Request{Protocol: call.HTTP, Address: "echo:80", Path: path + "?secret=1",
		Headers: map[string]string{"X-Request-Id": id, "Traceparent": parent}}
	// The application's sidecar logs by its new configuration what comes over new connections.
	o.Until(3*time.Minute, "the application's sidecar logs", func(context.Context) error {
		o.calls(1, request)
		if len(o.lines(o.apps(), path)) == 0 {
			return fmt.Errorf("no line with %s", path)
		}
		return nil
	})
	for who, pods := range map[string]func() []corev1.Pod{"caller": o.callers, "application": o.apps} {
		line := o.line(who, pods, path)
		o.wants(line, map[string]string{"source_principal": identity(o.Scene, "caller"), "destination_principal": identity(o.Scene, "echo"),
			"request_id": id, "traceparent": parent, "path": path, "status": "200", "tls_version": "TLSv1.3"})
		if line["route"] == nil {
			o.t.Errorf("%s: the line names no route: %v", who, line)
		}
	}
	o.through()
	o.calls(1, call.Request{Protocol: call.TCP, Address: "echo:9000", Text: "hello"})
	o.wants(o.line("caller", o.callers, `"protocol":"TCP"`), map[string]string{"reporter": "source", "source_principal": identity(o.Scene, "caller"),
		"destination_principal": identity(o.Scene, "echo"), "cluster": "service/" + o.Namespace + "/echo/9000/tcp"})
}

// through wants the lines of one request at a Gateway and at the application.
func (o *observed) through() {
	o.t.Helper()
	path := "/" + word("through")
	var gateway, app map[string]any
	o.Until(3*time.Minute, "a Gateway and the application's sidecar log one request", func(context.Context) error {
		call.Do(o.t.Context(), o.throughGateway(path))
		for _, gateway = range o.lines(o.gateway.Proxies(), path) {
			for _, app = range o.lines(o.apps(), path) {
				if app["request_id"] != nil && app["request_id"] == gateway["request_id"] {
					return nil
				}
			}
		}
		return fmt.Errorf("%v and %v", gateway, app)
	})
	o.wants(gateway, map[string]string{"reporter": "source", "source_principal": identity(o.Scene, "front-weft"), "destination_principal": identity(o.Scene, "echo"),
		"route": "httproute/" + o.Namespace + "/echo/0/0"})
	o.wants(app, map[string]string{"reporter": "destination", "source_principal": identity(o.Scene, "front-weft")})
}

// errorsOnly wants lines of what failed, and none of what did not.
func (o *observed) errorsOnly() {
	o.t.Helper()
	fine, failing := "/"+word("fine"), "/"+word("failing")
	o.calls(1, call.Request{Protocol: call.HTTP, Address: "echo:80", Path: fine})
	call.Do(o.t.Context(), o.throughGateway(fine))
	o.fails(failing)
	o.wants(o.line("caller", o.callers, failing), map[string]string{"status": "503", "flags": "UH", "reporter": "source"})
	for _, pod := range append(o.gateway.Proxies(), o.caller.Pod) {
		if all := o.lines([]corev1.Pod{pod}, fine); len(all) > 0 {
			o.t.Errorf("with accessLogs: Errors there is a line of a request that went well: %v", all)
		}
	}
}

// silently makes requests that go well and requests that fail, and returns their paths.
func (o *observed) silently() []string {
	o.t.Helper()
	paths := []string{"/" + word("fine"), "/" + word("failing")}
	o.calls(1, call.Request{Protocol: call.HTTP, Address: "echo:80", Path: paths[0]})
	o.fails(paths[1])
	return paths
}

// fails makes a request that reaches nobody.
func (o *observed) fails(path string) {
	o.t.Helper()
	if out := o.caller.Call(call.Request{Protocol: call.HTTP, Address: "nobody:80", Path: path}); out.Status != 503 {
		o.t.Errorf("of a Service without endpoints: %+v", out)
	}
}

// line waits for the line of an access log in which there is that word.
func (o *observed) line(who string, pods func() []corev1.Pod, word string) (line map[string]any) {
	o.t.Helper()
	o.Until(30*time.Second, who+" logs "+word, func(context.Context) error {
		all := o.lines(pods(), word)
		if len(all) == 0 {
			return fmt.Errorf("there is no such line")
		}
		line = all[0]
		return nil
	})
	return line
}

func (o *observed) lines(pods []corev1.Pod, word string) (all []map[string]any) {
	o.t.Helper()
	for _, pod := range pods {
		container := sidecar.ProxyContainer
		if !sidecar.Meshed(&pod) {
			container = pod.Spec.Containers[0].Name
		}
		for line := range strings.Lines(o.Log(pod, container)) {
			if strings.Contains(line, word) {
				all = append(all, stage.AccessLog(line)...)
			}
		}
	}
	return all
}

func (o *observed) wants(line map[string]any, fields map[string]string) {
	o.t.Helper()
	for name, want := range fields {
		if got := fmt.Sprint(line[name]); got != want {
			o.t.Errorf("%s is %s, want %s, in %v", name, got, want, line)
		}
	}
}
