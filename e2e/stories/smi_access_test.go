package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// guarded is a scene of an application and a shop whose callers TrafficTargets choose: a friend, and a foe.
type guarded struct {
	*stage.Scene
	t           *testing.T
	friend, foe *stage.Caller
}

// TestSMIAccess closes an application and a shop by TrafficTargets to all but a friend, who gets in by
// method, path, header and port, as often as its TrafficTarget is edited; what is missing lets nobody in, and
// once they are gone everybody gets in again. The kubelet gets in all the time.
func TestSMIAccess(t *testing.T) {
	g := guarded{Scene: stage.NewMeshed(t, "access"), t: t}
	if _, err := g.Kubectl(t.Context(), "apply", "--server-side", "--force-conflicts", "-f", "dist/smi.yaml"); err != nil {
		t.Fatal(err)
	}
	echo(t, g.Scene, "echo", "declared", "{}")
	g.Apply(manifest(t, "ledger.yaml"))
	meshShop(t, g.Scene, "shop", "drain", "ledger", "IPv4")
	caller(t, g.Scene, "friend", false)
	caller(t, g.Scene, "foe", false)
	g.Rollout("ledger", "echo", "shop")
	g.friend, g.foe = g.Caller("friend"), g.Caller("foe")
	for _, c := range []*stage.Caller{g.friend, g.foe} {
		c.Answered(asks("echo", "/closed"), nil)
		c.Answered(asks("shop", "/api/goods"), nil)
	}
	before := lives(g.Scene, "echo", "shop")

	g.Apply(manifest(t, "mesh/access.yaml"))
	g.acknowledged("echo")
	g.acknowledged("shop")
	g.byRequest()
	g.byPort()
	g.missing()
	g.edited()
	if now := lives(g.Scene, "echo", "shop"); now != before {
		t.Errorf("the kubelet was kept out: %s, before %s", now, before)
	}
	g.Remove(manifest(t, "mesh/access.yaml"))
	g.foe.Answered(asks("echo", "/closed"), nil)
	g.foe.Answered(call.Request{Protocol: call.TCP, Address: "echo:9000"}, nil)
	g.foe.Answered(asks("shop", "/api/goods"), nil)
}

func asks(service, path string) call.Request {
	return call.Request{Protocol: call.HTTP, Address: service + ":80", Path: path}
}

// acknowledged waits until all proxies that a TrafficTarget is about have it.
func (g guarded) acknowledged(name string) {
	g.t.Helper()
	g.ready(name, "True", "Enforced")
}

func (g guarded) ready(name, status, reason string) {
	g.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "access.smi-spec.io", Version: "v1alpha3", Kind: "TrafficTarget"})
	g.Until(time.Minute, fmt.Sprintf("TrafficTarget %s is Ready=%s %s", name, status, reason), func(ctx context.Context) error {
		if err := g.Get(ctx, g.Key(name), object); err != nil {
			return err
		}
		all, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
		if err != nil {
			return err
		}
		for _, entry := range all {
			c := entry.(map[string]any)
			if c["type"] == "Ready" && c["status"] == status && c["reason"] == reason && c["observedGeneration"] == object.GetGeneration() {
				return nil
			}
		}
		return fmt.Errorf("conditions: %v", all)
	})
}

// refuses wants a call to be answered 403, or where it is none of HTTP, not at all.
func (g guarded) refuses(who *stage.Caller, r call.Request) {
	g.t.Helper()
	out := who.Call(r)
	if r.Protocol == call.HTTP && out.Status != 403 || r.Protocol != call.HTTP && out.Failed == "" {
		g.t.Errorf("%s from %s, %s %s %q: %+v", r.Protocol, who.Pod.Name, r.Address, r.Path, r.Text, out)
	}
}

func (g guarded) byRequest() {
	g.t.Helper()
	with := asks("echo", "/closed")
	with.Headers = map[string]string{"x-pass": "please"}
	for _, r := range []call.Request{asks("echo", "/open/a"), with} {
		if err := g.friend.Call(r).Err(); err != nil {
			g.t.Errorf("the friend's %s: %v", r.Path, err)
		}
		g.refuses(g.foe, r)
	}
	wrote, wrong := asks("echo", "/open/a"), asks("echo", "/closed")
	wrote.Text, wrong.Headers = "a POST", map[string]string{"x-pass": "no"}
	for _, r := range []call.Request{wrote, wrong, asks("echo", "/closed"), asks("echo", "/open"), asks("echo", "/open/../closed"), asks("echo", "/open/%2e%2e/closed"), asks("echo", "/open/..;/closed")} {
		g.refuses(g.friend, r)
	}
	g.Until(30*time.Second, "the sidecar tells whom it refused, and by what", func(context.Context) error {
		for line := range strings.Lines(g.Log(g.Pod("echo"), "weft-proxy")) {
			if strings.Contains(line, identity(g.Scene, "foe")) && strings.Contains(line, "rbac_access_denied") && strings.Contains(line, `"policy_result":"denied"`) {
				return nil
			}
		}
		return fmt.Errorf("no such line")
	})
}

// byPort lets the friend send bytes to one port. That some requests were let in let no bytes in before.
func (g guarded) byPort() {
	g.t.Helper()
	lines, greets := call.Request{Protocol: call.TCP, Address: "echo:9000"}, call.Request{Protocol: call.Greeting, Address: "echo:9001"}
	for _, c := range []*stage.Caller{g.friend, g.foe} {
		g.refuses(c, lines)
		g.refuses(c, greets)
	}
	port := `{apiVersion: specs.smi-spec.io/v1alpha4, kind: TCPRoute, metadata: {name: port}, spec: {matches: {ports: [%d]}}}
---
{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: port}, spec: {destination: {kind: ServiceAccount, name: echo}, sources: [{kind: ServiceAccount, name: friend}], rules: [{kind: TCPRoute, name: port}]}}`
	g.Apply(fmt.Sprintf(port, 9001))
	g.acknowledged("port")
	g.friend.Answered(greets, bySidecar)
	g.refuses(g.friend, lines)
	g.refuses(g.foe, greets)
	g.Remove(fmt.Sprintf(port, 9001))
}

// missing takes a group away, and puts it back.
func (g guarded) missing() {
	g.t.Helper()
	parts := strings.SplitN(manifest(g.t, "mesh/access.yaml"), "\n---\n", 2)
	g.Remove(parts[0])
	g.ready("echo", "False", "RefNotFound")
	g.Until(30*time.Second, "the friend is refused", func(context.Context) error {
		if out := g.friend.Call(asks("echo", "/open/a")); out.Status != 403 {
			return fmt.Errorf("%+v", out)
		}
		return nil
	})
	g.Apply(parts[0])
	g.acknowledged("echo")
	g.friend.Answered(asks("echo", "/open/a"), bySidecar)
}

// edited lets the foe into the shop and out of it again while the friend's requests go on.
func (g guarded) edited() {
	g.t.Helper()
	sources := `{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: shop}, spec: {destination: {kind: ServiceAccount, name: shop}, sources: [{kind: ServiceAccount, name: friend}%s], rules: [{kind: HTTPRouteGroup, name: shop, matches: [browse, order]}]}}`
	g.friend.Start(load.Target{Address: "shop:80", Host: "shop"}, 50)
	passed, refused := 0, 0
	for range 6 {
		g.Apply(fmt.Sprintf(sources, ", {kind: ServiceAccount, name: foe}"))
		g.acknowledged("shop")
		g.foe.Answered(asks("shop", "/api/goods"), nil)
		g.Apply(fmt.Sprintf(sources, ""))
		g.acknowledged("shop")
		for _, out := range g.foe.Calls(30, asks("shop", "/api/goods")) {
			if out.Status == 403 {
				refused++
			} else {
				passed++
			}
		}
	}
	g.friend.Hold(50)
	results := g.friend.Stop()
	judge(g.t, g.Scene, "12 edits of a TrafficTarget", results)
	if passed > 0 {
		g.t.Errorf("%d of the foe's requests were not refused after the TrafficTarget was acknowledged", passed)
	}
	g.Step("12 edits: the friend's %d requests are answered, the foe's %d refused", len(results), refused)
}
