package stories

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// askingPolicies have authz asked about what comes to the Gateway, and second, by gRPC, about what comes to the app.
const askingPolicies = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  extAuth:
    protocol: HTTP
    backendRef: {name: authz, port: 80}
    http: {path: /check, allowedResponseHeaders: [X-User]}
    timeout: $TIMEOUT
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: app}
spec:
  targetRefs: [{kind: Service, name: echo}]
  extAuth:
    protocol: GRPC
    backendRef: {name: second, port: 90}
    serverHeaders: [X-User]
    timeout: $TIMEOUT
`

// council is the story of two servers that policies have asked about requests to an app, which come by a Gateway and from
// a pod in the mesh.
type council struct {
	*stage.Scene
	t       *testing.T
	from    *stage.Caller
	gateway *stage.Gateway
}

// TestServersByPolicy has two servers asked about requests, by HTTP and by gRPC, at a Gateway and at the pod itself: only
// what both allow gets through, and the app believes them alone of who calls. While one is gone nothing passes, the
// policy that names it says so, and all mends itself. Policies that come, change and go fail no request.
func TestServersByPolicy(t *testing.T) {
	stage.Parallel(t)
	c := newCouncil(t)
	c.held(func() {
		c.Apply(c.policies("2s"))
		c.Holds("all")
		c.Holds("app")
		c.becomes("the servers are asked", nil, 401)
		for i := range stage.Size(5, 20) {
			c.Apply(c.policies(fmt.Sprintf("%ds", 3+i%5)))
			c.Holds("all")
			c.Holds("app")
		}
	})
	c.decides()
	c.dies("authz", "http", "all")
	c.dies("second", "grpc", "app")
	c.names()
	c.held(func() {
		c.Remove(c.policies("2s"))
		c.becomes("nobody is asked", nil, 200)
	})
}

func newCouncil(t *testing.T) *council {
	t.Helper()
	c := &council{Scene: stage.NewMeshed(t, "council"), t: t}
	for _, name := range []string{"echo", "authz", "second"} {
		echo(t, c.Scene, name, "declared", "{}")
	}
	caller(t, c.Scene, "caller", false)
	c.Apply(manifest(t, "mesh/gateway.yaml"))
	c.Rollout("echo", "authz", "second")
	c.from, c.gateway = c.Caller("caller"), c.Gateway("front")
	c.becomes("the app is served", nil, 200)
	return c
}

func (c *council) policies(timeout string) string {
	return strings.ReplaceAll(askingPolicies, "$TIMEOUT", timeout)
}

// ways are those on which requests come to the app.
func (c *council) ways() map[string]func(headers map[string]string) call.Outcome {
	to := func(address string, headers map[string]string) call.Request {
		return call.Request{Protocol: call.HTTP, Address: address, Host: "echo.test", Path: "/x", Headers: headers}
	}
	return map[string]func(headers map[string]string) call.Outcome{
		"by the Gateway": func(headers map[string]string) call.Outcome {
			return call.Do(c.t.Context(), to(c.gateway.At(80), headers))
		},
		"from a pod": func(headers map[string]string) call.Outcome { return c.from.Call(to(at("echo", 80), headers)) },
	}
}

// becomes waits until requests are answered so, whichever way they come.
func (c *council) becomes(what string, headers map[string]string, status int) {
	c.t.Helper()
	c.Until(time.Minute, what, func(context.Context) error {
		for way, send := range c.ways() {
			if out := send(headers); out.Status != status {
				return errors.Join(fmt.Errorf("%s: status %d %s, want %d", way, out.Status, out.Failed, status), out.Err())
			}
		}
		return nil
	})
}

// held calls and calls with a good token while something is done, and wants no call to fail.
func (c *council) held(do func()) {
	c.t.Helper()
	throughout(c.t, c.from, call.Request{Protocol: call.HTTP, Address: at("echo", 80), Host: "echo.test", Headers: good}, do)
}

// decides looks at what the servers' decisions come to.
func (c *council) decides() {
	c.t.Helper()
	for way, send := range c.ways() {
		out := send(good)
		if user := strings.Join(out.Answer.Headers.Values("X-User"), ","); out.Err() != nil || user != "ann" {
			c.t.Errorf("%s: allowed: status %d, the app is told of %q: %s", way, out.Status, user, out.Failed)
		}
		for token, headers := range map[string]map[string]string{"no token": {"X-User": "admin"}, "a bad token": {"Authorization": "Bearer bad"}} {
			if out = send(headers); out.Status != 401 || out.Body != "no good token" || out.Answer.Pod != "" {
				c.t.Errorf("%s: %s: %+v", way, token, out)
			}
		}
	}
	c.Step("what both servers allow gets through, and nothing else")
}

// dies has a server close the port by which it is asked, and open it again.
func (c *council) dies(server, port, policy string) {
	c.t.Helper()
	turn := func(state string) {
		c.t.Helper()
		if _, err := c.Exec(c.t.Context(), c.Pod(server), "echo", nil, "/echo", "turn", port, state); err != nil {
			c.t.Fatal(err)
		}
	}
	turn("off")
	c.Until(time.Minute, "without "+server+" nothing passes by the Gateway", func(context.Context) error {
		if out := c.ways()["by the Gateway"](good); out.Status != 503 {
			return fmt.Errorf("status %d %s", out.Status, out.Failed)
		}
		return nil
	})
	if port == "http" { // by which it says that it is ready
		c.PolicySays(policy, "ServerUnavailable", "spec.extAuth.backendRef: port 80 of Service "+c.Namespace+"/"+server)
	}
	turn("on")
	c.becomes(server+" is back", good, 200)
	c.Holds(policy)
	c.Step("while %s was gone nothing passed", server)
}

// names has a server asked that there is not.
func (c *council) names() {
	c.t.Helper()
	c.Apply(strings.ReplaceAll(c.policies("2s"), "name: second", "name: gone"))
	c.PolicySays("app", "BackendNotFound", "spec.extAuth.backendRef: Service "+c.Namespace+"/gone does not exist")
	c.becomes("a server that is not there lets nothing pass", good, 503)
	c.Apply(c.policies("2s"))
	c.Holds("app")
	c.becomes("it names the one that is there", good, 200)
	c.Step("a server that is not there: 503, until it is named otherwise")
}
