package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// shadowDenied counts what policies in Shadow would refuse, by the name that their statuses tell; Envoy
// puts its own name before it.
const shadowDenied = "weft_shadow_denied_total"

// TestShadow tries two policies out in a namespace that lets strangers in, and calls what the mesh does
// not know: everybody is answered as before, and what would be refused is counted exactly, at the sidecar
// that lets it pass. Callers in the mesh, Services, and the kubelet, which asks each second, are not.
func TestShadow(t *testing.T) {
	c := newConversation(t, "shadow")
	c.OnThisMachine()
	echo(t, c.Scene, "echo", "declared", "{}")
	outside := c.Outside("outside")
	caller(t, outside, "pod", false)
	c.Rollout("echo")
	app, stranger := c.Pod("echo"), outside.Caller("pod")
	unknown := call.Request{Protocol: call.HTTP, Address: at(app.Status.HostIP, outdoors(t, app.Status.HostIP))}
	c.Apply(manifest(t, "mesh/permissive.yaml"))
	c.Holds("permissive")
	calls := func(n int) {
		for _, w := range waysOf(call.HTTP, call.TCP) {
			for range n {
				if out := stranger.Call(request(w, at(app.Status.PodIP, w.pod))); out.Err() != nil {
					t.Errorf("a stranger is refused by %s: %v", w.protocol, out.Err())
				}
				c.says(w, at("echo", w.service), app.Name, bySidecar)
			}
		}
		for range n {
			if out := c.caller.Call(unknown); out.Err() != nil {
				t.Errorf("an unknown destination is not reached: %v", out.Err())
			}
		}
	}
	calls(1)
	c.wouldDeny(app, 0, nil)
	c.wouldDeny(c.caller.Pod, 0, nil)

	c.Apply(`{apiVersion: mesh.weft.dev/v1alpha1, kind: MeshPolicy, metadata: {name: strict}, spec: {mode: Shadow, mtls: {mode: Strict}}}
---
{apiVersion: mesh.weft.dev/v1alpha1, kind: MeshPolicy, metadata: {name: no-egress}, spec: {mode: Shadow, targetRefs: [{kind: ServiceAccount, name: caller}], egress: {mode: Deny}}}`)
	c.tellsWhere("strict")
	c.tellsWhere("no-egress")
	const n = 3
	calls(n)
	for _, w := range waysOf(call.HTTP, call.TCP) {
		c.wouldDeny(app, n, stage.Labels{"section": "mtls", "policy": c.Namespace + "/strict", "destination_principal": identity(c.Scene, "echo"), "source_principal": "",
			"destination_service_namespace": c.Namespace, "destination_service_name": "echo", "destination_port": fmt.Sprint(w.service), "pod_port": fmt.Sprint(w.pod), "reporter": "destination"})
	}
	c.wouldDeny(app, 2*n, nil) // in all ports
	c.wouldDeny(c.caller.Pod, n, stage.Labels{"section": "egress", "policy": c.Namespace + "/no-egress", "source_principal": identity(c.Scene, "caller"), "reporter": "source"})
	c.wouldDeny(c.caller.Pod, n, nil)
	c.Step("%d calls of a stranger and %d to an unknown destination are answered, and counted", 2*n, n)
}

// wouldDeny waits until a pod's sidecar has counted so much in the series with these labels.
func (c *conversation) wouldDeny(pod corev1.Pod, n float64, labels stage.Labels) {
	c.t.Helper()
	const name = "envoy_" + shadowDenied
	c.Until(30*time.Second, fmt.Sprintf("%s counts %v with %v", pod.Name, n, labels), func(context.Context) error {
		now := c.Scrape(pod)
		if got := now.Sum(name, labels); got != n {
			return fmt.Errorf("%v; there are\n%s", got, now.Of(name))
		}
		return nil
	})
}

// tellsWhere waits until a policy is tried out by all proxies, and wants its status to say where to look.
func (c *conversation) tellsWhere(policy string) {
	c.t.Helper()
	c.Holds(policy)
	var p v1alpha1.MeshPolicy
	if err := c.Get(c.t.Context(), c.Key(policy), &p); err != nil {
		c.t.Fatal(err)
	}
	for _, ready := range p.Status.Conditions {
		if ready.Type == v1alpha1.ConditionReady && (ready.Reason != "Shadowed" || !strings.Contains(ready.Message, shadowDenied)) {
			c.t.Errorf("policy %s is %s: %s", policy, ready.Reason, ready.Message)
		}
	}
}
