package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// idle is the story of a world in which nothing happens.
type idle struct {
	*stage.Scene
	t       *testing.T
	proxies []corev1.Pod
}

// TestIdle: while nothing changes in a world with one of every kind, good and bad, the operator asks
// the API server for no change, and tells no proxy anything. When somebody wipes one status away, it
// is written once: the count can see.
func TestIdle(t *testing.T) {
	i := &idle{Scene: stage.NewMeshed(t, "idle"), t: t}
	i.OnThisMachine()
	undisturbed(i.Scene)
	steady(t, i.Scene, 2*time.Minute)
	i.setUp()
	i.settled()
	long := stage.Size(time.Minute, 10*time.Minute)
	i.Step("nothing happens for %s", long)
	i.quiet(long)
	i.statusesEcho()
	i.wiped("lines")
}

func (i *idle) setUp() {
	i.t.Helper()
	authority := &corev1.ConfigMap{Data: map[string]string{"ca.crt": string(stage.NewAuthority(i.t).Leaf("pay.internal").Certificate)}}
	authority.Namespace, authority.Name = i.Namespace, "authority"
	if err := i.Create(i.t.Context(), authority); err != nil {
		i.t.Fatal(err)
	}
	echo(i.t, i.Scene, "echo", "declared", "{}")
	caller(i.t, i.Scene, "caller", false)
	if err := i.InstallSMI(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
	i.Apply(manifest(i.t, "idle.yaml"))
	i.Rollout("echo", "caller")
	front := i.Gateway("front")
	front.Answers(time.Minute, "shop.test", "/", 200)
	i.Caller("caller").Answered(call.Request{Protocol: call.HTTP, Address: at("echo", 80)}, nil)
	i.proxies = append(front.Proxies(), i.Pod("echo"), i.Pod("caller"))
}

// settled waits until a quarter of a minute has passed without a write.
func (i *idle) settled() {
	i.t.Helper()
	const pause = 15 * time.Second
	i.Until(3*time.Minute, "the world comes to rest", func(ctx context.Context) error {
		all := i.writes(ctx)
		if len(all) == 0 {
			return fmt.Errorf("the API server has recorded no write of Weft's at all")
		}
		if last := all[len(all)-1]; time.Since(last.At) < pause {
			return fmt.Errorf("the last of %d writes: %s", len(all), last)
		}
		return nil
	})
}

// writes are those of Weft's accounts, without those by which a leader stays it.
func (i *idle) writes(ctx context.Context) (all []stage.Write) {
	i.t.Helper()
	record, err := i.Writes(ctx)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, w := range record {
		if !w.Election() && !i.ofEarlierStories(w) {
			all = append(all, w)
		}
	}
	return all
}

// ofEarlierStories tells whether a write is about an identity whose pods are in another namespace: what they
// leave is marked when they have gone, and deleted when nobody has wanted it for long enough.
func (i *idle) ofEarlierStories(w stage.Write) bool {
	return w.Namespace == stage.System && strings.HasPrefix(w.Name, "sa.") && !strings.HasPrefix(w.Name, "sa."+i.Namespace+".")
}

// pingBytes is an HTTP/2 frame by which client and server see that the other is there. Whatever else
// the operator says to a proxy is longer than two of them.
const pingBytes = 17

// quiet watches for so long that nothing is written and no proxy is told anything.
func (i *idle) quiet(long time.Duration) {
	i.t.Helper()
	before := len(i.writes(i.t.Context()))
	heard := map[string]told{}
	for _, pod := range i.proxies {
		heard[pod.Name] = toldTo(i.Scene, pod)
	}
	pushes, looks := 0, 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
		looks++
		for _, pod := range i.proxies {
			had, now := heard[pod.Name], toldTo(i.Scene, pod)
			if now.listeners != had.listeners || now.clusters != had.clusters || now.bytes-had.bytes > 2*pingBytes {
				pushes++
				i.t.Errorf("pod %s is told something: %+v, then %+v", pod.Name, had, now)
			}
			heard[pod.Name] = now
		}
	}
	written := i.writes(i.t.Context())[before:]
	for _, w := range written {
		i.t.Errorf("nothing has changed, yet: %s", w)
	}
	i.t.Logf("in %s: %d writes of Weft's accounts besides leases, %d pushes to %d proxies (%d looks at each)", long, len(written), pushes, len(i.proxies), looks)
}

// wiped has somebody wipe the status of a TCPRoute: Weft says it again, in one write.
func (i *idle) wiped(name string) {
	i.t.Helper()
	before := len(i.writes(i.t.Context()))
	route := &gwv1.TCPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: name}}
	if err := i.Status().Patch(i.t.Context(), route, client.RawPatch(types.MergePatchType, []byte(`{"status":{"parents":[]}}`))); err != nil {
		i.t.Fatal(err)
	}
	i.Until(time.Minute, "the status is there again", func(ctx context.Context) error {
		if err := i.Get(ctx, i.Key(name), route); err != nil || len(route.Status.Parents) != 1 {
			return fmt.Errorf("%+v: %v", route.Status, err)
		}
		return nil
	})
	i.settled()
	written := i.writes(i.t.Context())[before:]
	if len(written) != 1 || written[0].Resource != "tcproutes" || written[0].Subresource != "status" || written[0].Name != name {
		i.t.Errorf("one status was wiped away; written were %v", written)
	}
	i.t.Logf("a status that was wiped away is written again: %v", written)
}

var gatewayAPI = schema.GroupVersion(gwv1.GroupVersion)

// said are the kinds whose status Weft writes.
var said = []schema.GroupVersionKind{
	gatewayAPI.WithKind("GatewayClass"), gatewayAPI.WithKind("Gateway"), gatewayAPI.WithKind("ListenerSet"),
	gatewayAPI.WithKind("HTTPRoute"), gatewayAPI.WithKind("GRPCRoute"), gatewayAPI.WithKind("TLSRoute"),
	gatewayAPI.WithKind("TCPRoute"), gatewayAPI.WithKind("UDPRoute"), gatewayAPI.WithKind("BackendTLSPolicy"),
	v1alpha1.GroupVersion.WithKind("MeshPolicy"), v1alpha1.GroupVersion.WithKind("Mesh"),
	schema.GroupVersion(gwx.GroupVersion).WithKind("XBackendTrafficPolicy"),
	split.GroupVersion.WithKind("TrafficSplit"), specs.GroupVersion.WithKind("HTTPRouteGroup"), access.GroupVersion.WithKind("TrafficTarget"),
}

// statusesEcho wants every condition to speak of the generation that there is, and every parentRef of
// a route in its status as it is in its spec.
func (i *idle) statusesEcho() {
	i.t.Helper()
	conditions := 0
	for _, kind := range said {
		all := &unstructured.UnstructuredList{}
		all.SetGroupVersionKind(kind)
		if err := i.List(i.t.Context(), all); err != nil {
			i.t.Fatal(err)
		}
		seen := 0
		for _, object := range all.Items {
			if namespace := object.GetNamespace(); namespace != "" && namespace != i.Namespace {
				continue
			}
			seen++
			at := kind.Kind + " " + object.GetName()
			n := i.speaksOf(at, object.Object["status"], object.GetGeneration())
			if n == 0 {
				i.t.Errorf("%s has no condition", at)
			}
			conditions += n
			if strings.HasSuffix(kind.Kind, "Route") {
				i.echoes(at, object)
			}
		}
		if seen == 0 {
			i.t.Errorf("the world has no %s", kind.Kind)
		}
	}
	i.t.Logf("%d conditions speak of the generation that there is", conditions)
}

// speaksOf counts the conditions anywhere in a status, and wants each to be of that generation.
func (i *idle) speaksOf(at string, status any, generation int64) (n int) {
	switch value := status.(type) {
	case []any:
		for _, one := range value {
			n += i.speaksOf(at, one, generation)
		}
	case map[string]any:
		for field, one := range value {
			if field != "conditions" {
				n += i.speaksOf(at, one, generation)
				continue
			}
			for _, c := range one.([]any) {
				condition := c.(map[string]any)
				if condition["observedGeneration"] != generation || condition["reason"] == "" {
					i.t.Errorf("%s is of generation %d: %v", at, generation, condition)
				}
				n++
			}
		}
	}
	return n
}

func (i *idle) echoes(at string, route unstructured.Unstructured) {
	refs, _, _ := unstructured.NestedSlice(route.Object, "spec", "parentRefs")
	parents, _, _ := unstructured.NestedSlice(route.Object, "status", "parents")
	var said []any
	for _, p := range parents {
		said = append(said, p.(map[string]any)["parentRef"])
	}
	for _, ref := range refs {
		found := false
		for _, one := range said {
			found = found || equality.Semantic.DeepEqual(ref, one)
		}
		if parent := ref.(map[string]any)["name"]; !found && parent != "nowhere" { // whose Gateway that is, nobody knows
			i.t.Errorf("%s: no entry of its status is %v; they are %v", at, ref, said)
		}
	}
	if len(said) > len(refs) {
		i.t.Errorf("%s has %d parents, and says %v", at, len(refs), said)
	}
}
