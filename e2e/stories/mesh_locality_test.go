package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const nearPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: near}
spec:
  targetRefs: [{kind: Service, name: app}]
  locality: {prefer: [topology.kubernetes.io/zone]}
`

// nearbyService says something more of itself.
func nearbyService(more string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec: {" + more + "ports: [{name: http, port: 80, targetPort: 8080}]}\n"
}

// farZone is one that no Node of the cluster is in: an EndpointSlice alone says that pods are there.
const farZone = "weft-far"

// nearby is a Service of pods that are in the zone of who calls it, and of others that an EndpointSlice, written by
// hand, says to be elsewhere: the local cluster has one Node.
type nearby struct {
	*stage.Scene
	t    *testing.T
	zone string // of the caller's Node
	node string
	from *stage.Caller
}

// TestMeshLocality: a caller is answered by the pods of its zone. When these are not ready any more the others
// answer, within ten seconds; as they become ready again their part grows, and at last they answer alone. No
// request fails meanwhile, nor as the policy comes, goes, and the Service says the same by itself.
func TestMeshLocality(t *testing.T) {
	s := stage.NewMeshed(t, "locality")
	for _, name := range []string{"here", "there"} {
		s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", name, "$REPLICAS", "2", "$PORTS", declarations["declared"], "$ANNOTATIONS", "{}"))
	}
	s.Apply(nearbyService(""))
	caller(t, s, "caller", false)
	s.Rollout("here", "there", "caller")
	n := nearby{Scene: s, t: t, from: s.Caller("caller")}
	n.settle()
	n.place(2)
	request := call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	n.from.Answered(request, bySidecar)
	throughout(t, n.from, request, func() {
		n.answers("without a policy all pods answer", time.Minute, 20, 80)
		s.Apply(nearPolicy)
		s.Holds("near")
		n.answers("those of the zone answer", 10*time.Second, 100, 100)
		n.place(0)
		took := n.answers("the zone is away, the others answer", 10*time.Second, 0, 0)
		s.Step("%s after its pods were said not to be ready, 100 calls in a row were answered by others", took)
		n.place(1)
		n.answers("half of the zone is back, and has 70 %", 30*time.Second, 50, 90)
		n.place(2)
		n.answers("the zone is back", 30*time.Second, 100, 100)
		s.Remove(nearPolicy)
		n.answers("without the policy all pods answer again", time.Minute, 20, 80)
		s.Apply(nearbyService("trafficDistribution: PreferSameZone, "))
		n.answers("the Service itself says that those of the zone answer", time.Minute, 100, 100)
	})
}

// settle finds the zone of the caller's Node, and gives it one for as long as the story lasts if it has none.
func (n *nearby) settle() {
	n.t.Helper()
	n.node = n.from.Pod.Spec.NodeName
	node := &corev1.Node{}
	if err := n.Get(n.t.Context(), client.ObjectKey{Name: n.node}, node); err != nil {
		n.t.Fatal(err)
	}
	if n.zone = node.Labels[corev1.LabelTopologyZone]; n.zone != "" {
		return
	}
	n.zone = "weft-here"
	label := func(ctx context.Context, value string) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, corev1.LabelTopologyZone, value)
		if err := n.Patch(ctx, node, client.RawPatch(types.MergePatchType, patch)); err != nil {
			n.t.Error(err)
		}
	}
	label(n.t.Context(), `"`+n.zone+`"`)
	n.t.Cleanup(func() { label(context.Background(), "null") })
}

// place tells that so many of the pods that are here are ready, and all that are there.
func (n *nearby) place(ready int) {
	n.t.Helper()
	n.Step("%d pods of the zone are ready", ready)
	var endpoints []string
	for _, name := range []string{"here", "there"} {
		for i, pod := range n.Pods(name) {
			where, well := fmt.Sprintf("zone: %s, nodeName: %s", n.zone, n.node), i < ready
			if name == "there" {
				where, well = "zone: "+farZone, true
			}
			endpoints = append(endpoints, fmt.Sprintf("- {addresses: [%q], %s, conditions: {ready: %v, serving: %v, terminating: false}, targetRef: {kind: Pod, namespace: %s, name: %s, uid: %s}}",
				pod.Status.PodIP, where, well, well, n.Namespace, pod.Name, pod.UID))
		}
	}
	family := "IPv4"
	if strings.Contains(n.from.Pod.Status.PodIP, ":") {
		family = "IPv6"
	}
	n.Apply("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: app-by-hand, labels: {kubernetes.io/service-name: app, endpointslice.kubernetes.io/managed-by: weft-story}}\n" +
		"addressType: " + family + "\nports: [{name: http, port: 8080}]\nendpoints:\n" + strings.Join(endpoints, "\n") + "\n")
}

// answers waits until pods that are here answer at least, and at most, so many percent of the calls, and none fails.
func (n *nearby) answers(what string, limit time.Duration, least, most int) time.Duration {
	n.t.Helper()
	here := map[string]bool{}
	for _, pod := range n.Pods("here") {
		here[pod.Name] = true
	}
	return n.Until(limit, what, func(context.Context) error {
		failed, by := bad(n.from.Calls(100, call.Request{Protocol: call.HTTP, Address: at("app", 80)}))
		percent := 0
		for pod, answered := range by {
			if here[pod] {
				percent += answered
			}
		}
		if failed > 0 || percent < least || percent > most {
			return fmt.Errorf("%d of 100 failed, %d were answered here, want %d to %d: %v", failed, percent, least, most, by)
		}
		return nil
	})
}
