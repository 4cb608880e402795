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

// far is the value of the labels of a Node on which nothing runs: an EndpointSlice alone says that pods are there.
const far = "weft-far"

const farNode = `
apiVersion: v1
kind: Node
metadata: {name: ` + far + `, labels: {topology.kubernetes.io/zone: ` + far + `, topology.kubernetes.io/region: ` + far + `, weft.test/rack: ` + far + `}}
`

// places are the labels of Nodes that the story goes by.
var places = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion, "weft.test/rack"}

// nearby is a Service of pods that are where its caller is, and of others that an EndpointSlice, written by
// hand, says to be elsewhere: the local cluster has one Node.
type nearby struct {
	*stage.Scene
	t    *testing.T
	node *corev1.Node // the caller's
	from *stage.Caller
}

// TestMeshLocality: a caller is answered by the pods of its zone. When these are not ready any more the others
// answer, within ten seconds; as they become ready again their part grows, and at last they answer alone. By another
// label of Nodes it is the same, and regions get the parts that a policy says. No request fails meanwhile, nor as the
// policy comes, goes, and the Service says the same by itself.
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
		n.says("{prefer: [weft.test/rack]}")
		n.answers("those of the rack answer", 30*time.Second, 100, 100)
		region := n.node.Labels[corev1.LabelTopologyRegion]
		n.says(fmt.Sprintf("{weights: [{from: %s, to: [{region: %s, percent: 20}, {region: %s, percent: 80}]}]}", region, region, far))
		n.answers("the own region has a fifth", 30*time.Second, 8, 35) // by chance 3 standard deviations
		n.place(0)
		n.answers("the own region is away", 10*time.Second, 0, 0)
		n.place(2)
		n.answers("the own region is back", 30*time.Second, 8, 35)
		s.Remove(nearPolicy)
		n.answers("without the policy all pods answer again", time.Minute, 20, 80)
		s.Apply(nearbyService("trafficDistribution: PreferSameZone, "))
		n.answers("the Service itself says that those of the zone answer", time.Minute, 100, 100)
	})
}

// settle has a Node far away, and gives that of the caller labels for as long as the story lasts if it has none.
func (n *nearby) settle() {
	n.t.Helper()
	n.Apply(farNode)
	n.t.Cleanup(func() {
		if err := n.Stage.Remove(context.Background(), "", farNode); err != nil {
			n.t.Error(err)
		}
	})
	n.node = &corev1.Node{}
	must(n.t, n.Get(n.t.Context(), client.ObjectKey{Name: n.from.Pod.Spec.NodeName}, n.node))
	label := func(ctx context.Context, name, value string) error {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, name, value)
		return n.Patch(ctx, n.node, client.RawPatch(types.MergePatchType, patch))
	}
	for _, name := range places {
		if n.node.Labels[name] != "" {
			continue
		}
		must(n.t, label(n.t.Context(), name, `"weft-here"`))
		n.t.Cleanup(func() {
			if err := label(context.Background(), name, "null"); err != nil {
				n.t.Error(err)
			}
		})
	}
}

// says has the policy say something else.
func (n *nearby) says(what string) {
	n.Step("locality: %s", what)
	n.Apply(nearPolicy[:strings.Index(nearPolicy, "locality:")] + "locality: " + what + "\n")
	n.Holds("near")
}

// place tells that so many of the pods that are here are ready, and all that are there.
func (n *nearby) place(ready int) {
	n.t.Helper()
	n.Step("%d pods of the zone are ready", ready)
	var endpoints []string
	for _, name := range []string{"here", "there"} {
		for i, pod := range n.Pods(name) {
			where, well := fmt.Sprintf("zone: %s, nodeName: %s", n.node.Labels[corev1.LabelTopologyZone], n.node.Name), i < ready
			if name == "there" {
				where, well = fmt.Sprintf("zone: %s, nodeName: %s", far, far), true
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
