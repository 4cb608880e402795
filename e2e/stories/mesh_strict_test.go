package stories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// stranger is a client outside the mesh.
type stranger struct {
	name  string
	calls func(w way) call.Outcome
}

// refusal are the protocols that a stranger tries. Those in which the application speaks first are
// refused too, but later: the sidecar waits for the client's first byte.
var refusal = waysOf(call.HTTP, call.WebSocket, call.H2C, call.GRPC, call.TCP, call.TLS)

// TestStrictRefusesPlaintext calls an application in the mesh from a pod outside it, from a pod in
// the node's network, and from outside the cluster through a NodePort, which has the node's address
// in the client's place. All are refused, unless a policy lets them in.
func TestStrictRefusesPlaintext(t *testing.T) {
	s := stage.NewMeshed(t, "strict")
	s.OnThisMachine()
	echo(t, s, "echo", "declared", "{}")
	echo(t, s, "open", "declared", `{mesh.weft.dev/exclude-inbound-ports: "9000"}`)
	caller(t, s, "friend", false)
	s.Apply(fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: by-node}, spec: {type: NodePort, selector: {app: echo}, ports: %s}}`,
		declarations["declared"]))
	outside := s.Outside("outside")
	caller(t, outside, "pod", false)
	caller(t, outside, "host", true)
	s.Rollout("echo", "open")
	friend := s.Caller("friend")
	for _, w := range refusal {
		friend.Answered(call.Request{Protocol: w.protocol, Address: at("echo", w.service)}, bySidecar)
	}
	before := bytesRead(t, s, s.Pod("echo"))
	strangers := strangersOf(t, s, outside)
	shutOut(t, s, strangers)
	after := bytesRead(t, s, s.Pod("echo"))
	if after["tcp"] != before["tcp"] || after["grpc"] != before["grpc"] || after["tls"] != before["tls"] {
		t.Errorf("bytes of strangers reached the application: it had read %v, and has read %v", before, after)
	}
	excluded(t, s, outside)
	// The friend's sidecar must know that nobody behind an excluded port speaks mTLS.
	friend.Answered(call.Request{Protocol: call.TCP, Address: "open:9000"}, past(friend.Pod))

	s.Apply(manifest(t, "mesh/permissive.yaml"))
	s.Holds("permissive")
	for _, one := range strangers {
		for _, w := range refusal {
			s.Until(time.Minute, one.name+" is let in by "+string(w.protocol), func(context.Context) error { return one.calls(w).Err() })
		}
	}
	for _, w := range refusal {
		friend.Answered(call.Request{Protocol: w.protocol, Address: at("echo", w.service)}, bySidecar)
	}
	s.Remove(manifest(t, "mesh/permissive.yaml"))
	s.Until(time.Minute, "strangers are refused again", func(context.Context) error {
		for _, one := range strangers {
			if one.calls(refusal[0]).Err() == nil {
				return errors.New(one.name + " is let in")
			}
		}
		return nil
	})
	shutOut(t, s, strangers)
}

// strangersOf waits for the clients.
func strangersOf(t *testing.T, s, outside *stage.Scene) []stranger {
	t.Helper()
	app, service := s.Pod("echo"), clusterIP(t, s, "echo")
	var byNode corev1.Service
	if err := s.Get(t.Context(), s.Key("by-node"), &byNode); err != nil {
		t.Fatal(err)
	}
	nodePorts := map[int]int{}
	for _, p := range byNode.Spec.Ports {
		nodePorts[int(p.Port)] = int(p.NodePort)
	}
	pod, host := outside.Caller("pod"), outside.Caller("host")
	from := func(c *stage.Caller, address func(way) string) func(way) call.Outcome {
		return func(w way) call.Outcome { return c.Call(request(w, address(w))) }
	}
	byService := func(w way) string { return at(service, w.service) }
	byPod := func(w way) string { return at(app.Status.PodIP, w.pod) }
	return []stranger{
		{"a pod outside the mesh, by Service", from(pod, byService)},
		{"a pod outside the mesh, by pod IP", from(pod, byPod)},
		{"a pod in the node's network, by Service", from(host, byService)},
		{"a pod in the node's network, by pod IP", from(host, byPod)},
		{"a client through a NodePort", func(w way) call.Outcome {
			return call.Do(t.Context(), request(w, at(app.Status.HostIP, nodePorts[w.service])))
		}},
	}
}

func request(w way, address string) call.Request {
	return call.Request{Protocol: w.protocol, Address: address, Text: "let me in", Within: 5 * time.Second}
}

// shutOut wants every stranger to have no answer in any protocol.
func shutOut(t *testing.T, s *stage.Scene, strangers []stranger) {
	t.Helper()
	for _, one := range strangers {
		answers := 0
		for _, w := range refusal {
			if out := one.calls(w); out.Failed == "" && out.Status < 300 {
				answers++
				t.Errorf("%s is answered by %s: %+v", one.name, w.protocol, out)
			}
		}
		s.Step("%s: %d of %d calls answered", one.name, answers, len(refusal))
	}
}

// excluded wants a port that an annotation excludes to be open to strangers, and no other.
func excluded(t *testing.T, s, outside *stage.Scene) {
	t.Helper()
	ip, pod := s.Pod("open").Status.PodIP, outside.Caller("pod")
	pod.Answered(call.Request{Protocol: call.TCP, Address: at(ip, 9000)}, past(pod.Pod))
	if out := pod.Call(call.Request{Protocol: call.HTTP, Address: at(ip, 8080), Within: 5 * time.Second}); out.Err() == nil {
		t.Error("a port that is not excluded is open to strangers")
	}
}

// bytesRead is how many bytes the application has read at each of its ports.
func bytesRead(t *testing.T, s *stage.Scene, pod corev1.Pod) map[string]int64 {
	t.Helper()
	out, err := s.Exec(t.Context(), pod, "echo", nil, "/echo", "status")
	if err != nil {
		t.Fatal(err)
	}
	var seen map[string]struct{ Bytes, Connections int64 }
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatal(err)
	}
	bytes := map[string]int64{}
	for port, of := range seen {
		bytes[port] = of.Bytes
	}
	return bytes
}

// answered calls from here until there is an answer.
func answered(t *testing.T, s *stage.Scene, r call.Request) (out call.Outcome) {
	t.Helper()
	s.Until(time.Minute, fmt.Sprintf("%s %s is answered", r.Protocol, r.Address), func(ctx context.Context) error {
		out = call.Do(ctx, r)
		return out.Err()
	})
	return out
}
