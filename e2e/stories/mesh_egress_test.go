package stories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestEgress calls what the mesh does not know, by address and through an ExternalName: it is let
// through, until a policy denies it, which touches no Service and no pod of the cluster.
func TestEgress(t *testing.T) {
	c := newConversation(t, "egress")
	c.OnThisMachine()
	echo(t, c.Scene, "echo", "declared", "{}")
	c.Rollout("echo")
	app := c.Pod("echo")
	port := outdoors(t, app.Status.HostIP)
	c.Apply(manifest(t, "mesh/egress.yaml", "$ADDRESS", app.Status.HostIP))
	unknown := map[string]call.Request{
		"an address outside": {Protocol: call.HTTP, Address: at(app.Status.HostIP, port)},
		"an ExternalName":    {Protocol: call.HTTP, Address: at("named", port)},
	}
	passes := func(when string) {
		for what, r := range unknown {
			c.caller.Answered(r, nil)
			c.Step("%s: %s is answered", when, what)
		}
	}
	known := func() {
		for _, w := range waysOf(call.HTTP, call.GRPC, call.TCP) {
			c.says(w, at("echo", w.service), app.Name, bySidecar)
			c.says(w, at(app.Status.PodIP, w.pod), app.Name, bySidecar)
		}
	}
	passes("without a policy")
	known()
	deny := `{apiVersion: mesh.weft.dev/v1alpha1, kind: MeshPolicy, metadata: {name: deny}, spec: {targetRefs: [{kind: ServiceAccount, name: caller}], egress: {mode: Deny}}}`
	c.Apply(deny)
	c.Holds("deny")
	for what, r := range unknown {
		if out := c.caller.Call(r); out.Failed == "" {
			t.Errorf("with egress: Deny %s is answered: %+v", what, out)
		}
	}
	known()
	c.counted("deny", 1)
	c.Apply(strings.Replace(deny, "Deny", "Allow", 1))
	passes("with egress: Allow")
	known()
}

// outdoors answers as the echo application does, in the node's network and outside the cluster. It
// returns its port.
func outdoors(t *testing.T, address string) int {
	t.Helper()
	return servesAt(t, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(call.Answer{Pod: "none", Protocol: r.Proto})
	}))
}

// servesAt has a server listen at an address of this machine, on the port that is returned.
func servesAt(t *testing.T, address string, handler http.Handler) int {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: handler}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve on %s: %v", address, err)
		}
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// counted wants a policy to say that n proxies of n have it, where a person looks.
func (c *conversation) counted(policy string, n int) {
	c.t.Helper()
	var p v1alpha1.MeshPolicy
	c.Until(time.Minute, fmt.Sprintf("policy %s has %d proxies", policy, n), func(ctx context.Context) error {
		if err := c.Get(ctx, c.Key(policy), &p); err != nil {
			return err
		}
		if s := p.Status.Proxies; s == nil || int(s.Total) != n || int(s.Acknowledged) != n {
			return fmt.Errorf("status %+v", p.Status)
		}
		return nil
	})
	text, err := c.Kubectl(c.t.Context(), "get", "meshpolicies", "-n", c.Namespace)
	if err != nil {
		c.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	want := strings.Fields(fmt.Sprintf("%s True Enforced Enforce %d/%d", policy, n, n))
	if shown := strings.Fields(lines[len(lines)-1]); len(lines) != 2 || len(shown) != len(want)+1 || strings.Join(shown[:len(want)], " ") != strings.Join(want, " ") {
		c.t.Errorf("kubectl get meshpolicies shows\n%s", text)
	}
	if header := strings.Join(strings.Fields(lines[0]), " "); header != "NAME READY REASON MODE PROXIES AGE" {
		c.t.Errorf("kubectl get meshpolicies heads its columns %q", header)
	}
}

// TestAPermissiveNamespace has a policy without targets let strangers in at every pod of its
// namespace, and says of how many proxies that holds.
func TestAPermissiveNamespace(t *testing.T) {
	c := newConversation(t, "permissive")
	for _, name := range []string{"declared", "undeclared"} {
		echo(t, c.Scene, name, name, "{}")
	}
	outside := c.Outside("outside")
	caller(t, outside, "pod", false)
	caller(t, outside, "host", true)
	c.Rollout("declared", "undeclared")
	clients := map[string]*stage.Caller{"a pod outside the mesh": outside.Caller("pod"), "a pod in the node's network": outside.Caller("host")}
	refused := func() {
		for who, client := range clients {
			for _, name := range []string{"declared", "undeclared"} {
				if out := client.Call(call.Request{Protocol: call.HTTP, Address: at(c.Pod(name).Status.PodIP, 8080), Within: 5 * time.Second}); out.Err() == nil {
					t.Errorf("%s is let in at %s", who, name)
				}
			}
		}
	}
	refused()
	c.Apply(manifest(t, "mesh/permissive.yaml"))
	c.Holds("permissive")
	c.counted("permissive", 3)
	for who, client := range clients {
		for _, name := range []string{"declared", "undeclared"} {
			for _, w := range refusal {
				if out := client.Call(request(w, at(c.Pod(name).Status.PodIP, w.pod))); out.Err() != nil {
					t.Errorf("%s is refused by %s of %s: %v", who, w.protocol, name, out.Err())
				}
			}
			for _, w := range ways {
				c.says(w, at(name, w.service), c.Pod(name).Name, bySidecar)
			}
		}
	}
	c.Remove(manifest(t, "mesh/permissive.yaml"))
	c.Until(time.Minute, "strangers are refused again", func(context.Context) error {
		for who, client := range clients {
			for _, name := range []string{"declared", "undeclared"} {
				if client.Call(request(refusal[0], at(c.Pod(name).Status.PodIP, 8080))).Err() == nil {
					return fmt.Errorf("%s is let in at %s", who, name)
				}
			}
		}
		return nil
	})
}
