package stories

import (
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// way is how the echo application is called in one protocol.
type way struct {
	protocol call.Protocol
	service  int    // port of its Service
	pod      int    // port of the pod
	seen     string // protocol that the application sees
}

var ways = []way{
	{call.HTTP, 80, 8080, "HTTP/1.1"},
	{call.WebSocket, 80, 8080, "WebSocket"},
	{call.H2C, 81, 8081, "HTTP/2.0"},
	{call.GRPC, 90, 9090, "gRPC"},
	{call.TCP, 9000, 9000, "TCP"},
	{call.Greeting, 9001, 9001, "TCP"},
	{call.TLS, 443, 8443, "TLS"},
}

// waysOf are those of some protocols.
func waysOf(protocols ...call.Protocol) []way {
	return slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !slices.Contains(protocols, w.protocol) })
}

// declarations are the ports of a Service with their protocols declared in each way.
var declarations = map[string]string{
	"declared": `[{name: a, port: 80, targetPort: 8080, appProtocol: http}, {name: b, port: 81, targetPort: 8081, appProtocol: kubernetes.io/h2c}, {name: c, port: 90, targetPort: 9090, appProtocol: grpc}, ` +
		`{name: d, port: 9000, appProtocol: tcp}, {name: e, port: 9001, appProtocol: tcp}, {name: f, port: 443, targetPort: 8443, appProtocol: tls}]`,
	"named": `[{name: http-web, port: 80, targetPort: 8080}, {name: http2-web, port: 81, targetPort: 8081}, {name: grpc-say, port: 90, targetPort: 9090}, ` +
		`{name: tcp-lines, port: 9000}, {name: tcp-greeting, port: 9001}, {name: tls-own, port: 443, targetPort: 8443}]`,
	"undeclared": `[{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 8081}, {name: c, port: 90, targetPort: 9090}, ` +
		`{name: d, port: 9000}, {name: e, port: 9001}, {name: f, port: 443, targetPort: 8443}]`,
}

// echo deploys an echo application and its Service. Annotations are those of its pods.
func echo(t testing.TB, s *stage.Scene, name, declaration string, annotations string) {
	t.Helper()
	s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", name, "$REPLICAS", "1", "$PORTS", declarations[declaration], "$ANNOTATIONS", annotations))
}

// caller deploys a pod to call from.
func caller(t testing.TB, s *stage.Scene, name string, hostNetwork bool) {
	t.Helper()
	s.Apply(manifest(t, "mesh/caller.yaml", "$NAME", name, "$HOST_NETWORK", strconv.FormatBool(hostNetwork)))
}

// noneFailed wants every request of a load to have been answered well.
func noneFailed(t *testing.T, results []load.Result) {
	t.Helper()
	for _, r := range results {
		if r.Failed != "" {
			t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
		}
	}
	t.Logf("%d requests were sent", len(results))
}

func at(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// bySidecar wants a call to have reached its application from the application's own sidecar.
func bySidecar(o call.Outcome) error {
	if o.Answer.Remote != "127.0.0.6" && o.Answer.Remote != "::6" {
		return fmt.Errorf("it came from %s, not from the sidecar", o.Answer.Remote)
	}
	return nil
}

// past wants a call to have reached its application as it was sent, from that pod.
func past(from corev1.Pod) func(call.Outcome) error {
	return func(o call.Outcome) error {
		for _, ip := range from.Status.PodIPs {
			if o.Answer.Remote == ip.IP {
				return nil
			}
		}
		return fmt.Errorf("it came from %s, not from pod %s", o.Answer.Remote, from.Name)
	}
}

// word is one that occurs nowhere else.
func word(name string) string { return name + "-" + rand.Text() }

// lives are the pods of a scene and how often each of their containers was restarted.
func lives(s *stage.Scene, apps ...string) string {
	var all []string
	for _, app := range apps {
		for _, pod := range s.Pods(app) {
			restarts := int32(0)
			for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
				restarts += c.RestartCount
			}
			all = append(all, fmt.Sprintf("%s restarted %d", pod.Name, restarts))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
