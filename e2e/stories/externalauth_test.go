package stories

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// checks is the story of a server that decides about requests to a shop.
type checks struct {
	*stage.Scene
	t       *testing.T
	inside  *stage.Caller
	gateway *stage.Gateway
}

var checked = []string{"/by-http", "/by-grpc"}

// TestExternalAuth has a server asked about requests, by HTTP and by gRPC, which come through a Gateway and
// from a pod in the mesh: what it allows reaches the shop with what it says of the user, what it refuses gets
// its answer. While it is gone nothing passes, and while the filter changes nothing that it would refuse.
func TestExternalAuth(t *testing.T) {
	stage.Parallel(t)
	c := &checks{Scene: stage.NewMeshed(t, "externalauth"), t: t}
	caller(t, c.Scene, "caller", false)
	for _, name := range []string{"shop", "authz", "second"} {
		echo(t, c.Scene, name, "declared", "{}")
	}
	c.filter("authz", "X-A")
	c.Rollout("shop", "authz", "second")
	c.inside, c.gateway = c.Caller("caller"), c.Gateway("front")
	for way, call := range c.ways() {
		for _, path := range checked {
			c.Until(time.Minute, way+" "+path+" is served", func(context.Context) error { return call(path, good).Err() })
			c.decides(way+" "+path, path, call)
		}
		c.Step("%s: allowed and refused, by HTTP and by gRPC", way)
	}
	c.dies()
	c.changes()
	c.misnamed()
}

// good is the token of a user.
var good = map[string]string{"Authorization": "Bearer good-ann", "X-User": "admin"}

// send makes a request to the shop.
type send func(path string, headers map[string]string) call.Outcome

// ways are those on which requests come to the shop.
func (c *checks) ways() map[string]send {
	to := func(address, path string, headers map[string]string) call.Request {
		r := call.Request{Protocol: call.HTTP, Address: address, Host: "shop", Path: path, Headers: headers}
		if strings.HasSuffix(path, "-long") {
			r.Path, r.Text = strings.TrimSuffix(path, "-long"), strings.Repeat("x", 65)
		}
		return r
	}
	return map[string]send{
		"by the Gateway": func(path string, headers map[string]string) call.Outcome {
			return call.Do(c.t.Context(), to(c.gateway.At(80), path, headers))
		},
		"from a pod": func(path string, headers map[string]string) call.Outcome {
			return c.inside.Call(to(at("shop", 80), path, headers))
		},
	}
}

// filter has one server asked, which is told of one more header.
func (c *checks) filter(server, header string) {
	c.t.Helper()
	c.Apply(manifest(c.t, "mesh/external-auth.yaml", "$AUTHZ", server, "$HEADER", header))
}

// decides looks at what the server's decisions come to.
func (c *checks) decides(what, path string, send send) {
	c.t.Helper()
	out := send(path+"/x?q=1", good)
	if user := strings.Join(out.Answer.Headers.Values("X-User"), ","); out.Err() != nil || user != "ann" || out.Answer.Path != path+"/x?q=1" {
		c.t.Errorf("%s: allowed: status %d, the shop got %s of %q: %s", what, out.Status, out.Answer.Path, user, out.Failed)
	}
	for token, headers := range map[string]map[string]string{"no token": nil, "a bad token": {"Authorization": "Bearer bad"}} {
		out = send(path, headers)
		if out.Status != 401 || out.Body != "no good token" || out.Header.Get("WWW-Authenticate") != "Bearer" || out.Answer.Pod != "" {
			c.t.Errorf("%s: %s: %+v", what, token, out)
		}
	}
	if out = send(path+"-long", good); out.Status != 413 {
		c.t.Errorf("%s: a body that is too long: status %d %s", what, out.Status, out.Failed)
	}
	if out = send("/free", nil); out.Err() != nil {
		c.t.Errorf("%s: a rule without the filter: %v", what, out.Err())
	}
}

// dies has the server close its ports and open them again.
func (c *checks) dies() {
	c.t.Helper()
	server := c.Pod("authz")
	turn := func(state string) {
		c.t.Helper()
		for _, port := range []string{"http", "grpc"} {
			if _, err := c.Exec(c.t.Context(), server, "echo", nil, "/echo", "turn", port, state); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	turn("off")
	for way, send := range c.ways() {
		for _, path := range checked {
			if out := send(path, good); out.Status != 503 || out.Answer.Pod != "" {
				c.t.Errorf("%s %s, without a server: %+v", way, path, out)
			}
		}
		if out := send("/free", nil); out.Err() != nil {
			c.t.Errorf("%s, a rule without the filter: %v", way, out.Err())
		}
	}
	c.Step("while the server is gone nothing passes")
	turn("on")
	for way, send := range c.ways() {
		for _, path := range checked {
			c.Until(time.Minute, way+" "+path+" is allowed again", func(context.Context) error { return send(path, good).Err() })
		}
	}
	c.Step("the server is back")
}

// changes changes the filter while requests pass, and moves it from one server to the other.
func (c *checks) changes() {
	c.t.Helper()
	stop := c.hold(c.ways()["by the Gateway"])
	for i := range stage.Size(10, 50) {
		c.filter([]string{"authz", "second"}[i%2], fmt.Sprintf("X-%d", i))
		for _, path := range checked { // while the change is under way
			c.judge(path, c.inside.Calls(10, call.Request{Protocol: call.HTTP, Address: at("shop", 80), Host: "shop", Path: path, Headers: good}), 200)
			c.judge(path, c.inside.Calls(10, call.Request{Protocol: call.HTTP, Address: at("shop", 80), Host: "shop", Path: path}), 401)
		}
	}
	allowed, refused := stop()
	c.judge("by the Gateway", allowed, 200)
	c.judge("by the Gateway", refused, 401)
	c.Step("the filter changed %d times under %d requests by the Gateway", stage.Size(10, 50), len(allowed)+len(refused))
	if len(allowed) < 100 || len(refused) < 100 {
		c.t.Errorf("only %d and %d requests passed meanwhile", len(allowed), len(refused))
	}
}

// hold sends requests that are to be allowed and refused, one after the other, until stop.
func (c *checks) hold(send send) (stop func() (allowed, refused []call.Outcome)) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var allowed, refused []call.Outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			path := checked[i%len(checked)]
			allowed, refused = append(allowed, send(path, good)), append(refused, send(path, nil))
		}
	}()
	c.t.Cleanup(cancel)
	return func() ([]call.Outcome, []call.Outcome) {
		cancel()
		<-done
		return allowed, refused
	}
}

// judge wants all to have one status.
func (c *checks) judge(what string, outcomes []call.Outcome, status int) {
	c.t.Helper()
	for _, out := range outcomes {
		if out.Status != status {
			c.t.Errorf("%s: status %d %s %s, want %d", what, out.Status, out.Failed, out.Body, status)
		}
	}
}

// misnamed has a server asked that there is not.
func (c *checks) misnamed() {
	c.t.Helper()
	c.filter("gone", "X-A")
	c.RouteShows("checked", stage.Condition{Type: string(gwv1.RouteConditionResolvedRefs), Status: "False", Reason: string(gwv1.RouteReasonBackendNotFound)})
	for way, send := range c.ways() {
		for _, path := range checked {
			c.Until(time.Minute, way+" "+path+" is answered 500", func(context.Context) error {
				out := send(path, good)
				if out.Status == 500 {
					return nil
				}
				return errors.Join(fmt.Errorf("status %d", out.Status), out.Err())
			})
		}
		if out := send("/free", nil); out.Err() != nil {
			c.t.Errorf("%s, a rule without the filter: %v", way, out.Err())
		}
	}
	c.Step("a server that is not there: 500")
}
