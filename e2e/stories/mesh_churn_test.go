package stories

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// churn is the story of two backends in the mesh that change in every way while a pod in the mesh
// calls them.
type churn struct {
	*stage.Scene
	t      *testing.T
	family string
	caller *stage.Caller
}

// backends are a polite one, which drains when it is told to end, and an abrupt one, which exits.
var backends = map[string]string{"polite": "drain", "abrupt": "exit"}

// TestChurnOverIPv4 holds 300 requests per second from pod to pod while everything changes.
func TestChurnOverIPv4(t *testing.T) { playChurn(t, "IPv4") }

// TestChurnOverIPv6 is the same with Services of the other family.
func TestChurnOverIPv6(t *testing.T) { playChurn(t, "IPv6") }

func playChurn(t *testing.T, family string) {
	t.Helper()
	c := &churn{Scene: stage.NewMeshed(t, "churn"), t: t, family: family}
	c.OnThisMachine()
	c.setUp()
	for name := range backends {
		// By address: names are DNS's, which loses its endpoints with the node.
		c.caller.Start(load.Target{Address: at(clusterIP(t, c.Scene, name), 80), Host: name}, 150)
	}
	c.play()
	judge(t, c.Scene, "300 requests per second from pod to pod over "+family+", open loop, never retried by the client", c.caller.Stop())
}

func clusterIP(t *testing.T, s *stage.Scene, name string) string {
	t.Helper()
	var service corev1.Service
	if err := s.Get(t.Context(), s.Key(name), &service); err != nil {
		t.Fatal(err)
	}
	return service.Spec.ClusterIP
}

func (c *churn) setUp() {
	c.t.Helper()
	c.Apply(manifest(c.t, "ledger.yaml"))
	c.Rollout("ledger")
	for name, onTerm := range backends {
		meshShop(c.t, c.Scene, name, onTerm, "ledger", c.family)
	}
	caller(c.t, c.Scene, "caller", false)
	c.Rollout("polite", "abrupt")
	c.caller = c.Caller("caller")
	for name := range backends {
		c.caller.Answered(call.Request{Protocol: call.HTTP, Address: name + ":80", Path: "/api/goods"}, nil)
	}
}

// meshShop deploys one shop behind a Service of one family, with an account of its own.
func meshShop(t testing.TB, s *stage.Scene, name, onTerm, ledger, family string) {
	t.Helper()
	s.Apply(manifest(t, "mesh/shop.yaml", "$NAME", name, "$ON_TERM", onTerm, "$LEDGER", ledger,
		"$REPLICAS", "1", "$WORK", work[onTerm], "$FAMILY", family))
}

func (c *churn) play() {
	most := stage.Size(6, 20)
	c.step("nothing changes", func() {})
	for _, name := range []string{"polite", "abrupt"} {
		c.step(fmt.Sprintf("%s: 1 → %d pods", name, most), func() { c.scale(name, most) })
		c.step(fmt.Sprintf("%s: %d → 1 pods", name, most), func() { c.scale(name, 1) })
		c.step(name+" rolled", func() {
			for range stage.Size(1, 3) {
				c.must(c.Roll(c.t.Context(), c.Namespace, name, rollout))
			}
		})
	}
	c.step("readiness flaps", func() { c.flap("polite", stage.Size(3, 20)) })
	if c.family == "IPv4" || stage.Long() { // who controls the cluster is the same for both
		c.uncontrolled()
	}
	c.step("polite rolled after all that", func() { c.must(c.Roll(c.t.Context(), c.Namespace, "polite", rollout)) })
	c.step("nothing changes any more", func() {})
}

// uncontrolled has the operator, and parts of Kubernetes, be away.
func (c *churn) uncontrolled() {
	c.step("slices are late", func() { c.late("polite") })
	c.step("operator killed", func() { c.must(c.Kill(c.t.Context(), stage.System, stage.Operator, rollout)) })
	c.step("operator is down", func() { c.operators(0) })
	c.step("operator is back", func() { c.operators(1) })
	c.away("kube-apiserver", stage.Size(14*time.Second, time.Minute)) // longer than a leader's lease
	c.operatorRanOn()
	if stage.Long() {
		c.away("kubelet", 90*time.Second) // long enough for all endpoints on the node to go
	}
}

// step plays one change under load, and holds the load for a while after it.
func (c *churn) step(name string, do func()) {
	c.t.Helper()
	c.Step("%s", name)
	c.caller.Step(name)
	do()
	c.caller.Hold(stage.Size(900, 6000))
}

// away has the cluster do without one of its processes for a while. It cannot be looked at meanwhile.
func (c *churn) away(process string, long time.Duration) {
	c.t.Helper()
	c.step(fmt.Sprintf("%s away for %s", process, long), func() {
		_, err := c.Cluster(c.t.Context(), "away", process, long.String())
		c.must(err)
		c.Until(rollout, "the kubelet knows the caller's pod", func(ctx context.Context) error {
			_, err := c.Exec(ctx, c.caller.Pod, "caller", nil, "/caller", "sent")
			return err
		})
	})
}

func (c *churn) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// scale gives a backend that many pods, and waits until it has them and no others.
func (c *churn) scale(name string, replicas int) {
	c.t.Helper()
	c.must(scaleTo(c.t.Context(), c.Stage, c.Namespace, name, replicas))
	c.Rollout(name)
	c.Until(rollout, name+" has "+strconv.Itoa(replicas)+" pods", func(context.Context) error {
		if n := len(c.Pods(name)); n != replicas {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})
}

func scaleTo(ctx context.Context, s *stage.Stage, namespace, name string, replicas int) error {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = namespace, name
	return s.Patch(ctx, d, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)))
}

// operators has that many replicas of the operator run.
func (c *churn) operators(replicas int) { operators(c.t, c.Scene, replicas) }

// operatorRanOn fails if the operator ended, which has had no reason to since it is back.
func (c *churn) operatorRanOn() {
	c.t.Helper()
	pods, err := operatorPods(c.t.Context(), c.Stage)
	c.must(err)
	for _, p := range pods {
		if n := p.Status.ContainerStatuses[0].RestartCount; n > 0 {
			c.t.Errorf("%s ended %d times while the API server was away", p.Name, n)
		}
	}
}

// flap has one of two pods of a backend turn unready and ready again, that many times.
func (c *churn) flap(name string, times int) {
	c.t.Helper()
	c.scale(name, 2)
	pod := c.Pods(name)[0]
	for range times {
		c.turn(pod, "unready")
		c.turn(pod, "ready")
	}
	c.scale(name, 1)
}

// turn has a shop's pod turn unready or ready, and waits until its object says so.
func (c *churn) turn(pod corev1.Pod, state string) {
	c.t.Helper()
	_, err := c.Exec(c.t.Context(), pod, "shop", nil, "/shop", state)
	c.must(err)
	c.Until(time.Minute, pod.Name+" turns "+state, func(ctx context.Context) error {
		if err := podReady(ctx, c.Scene, pod.Name); (err == nil) != (state == "ready") {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
}

// late has the only ready pod of a backend go while Kubernetes' controllers are away, as they are for a while
// after an outage of the API server: EndpointSlices call that pod serving when it is gone, and the other one,
// which is ready since, unready.
func (c *churn) late(name string) {
	c.t.Helper()
	c.scale(name, 2)
	next, last := c.Pods(name)[0], c.Pods(name)[1]
	c.turn(next, "unready")
	c.Until(time.Minute, "the slices say so", func(ctx context.Context) error { return c.calledUnready(ctx, next.Name) })
	back := c.withoutControllers(20 * time.Second)
	c.turn(next, "ready")
	c.must(c.Delete(c.t.Context(), &last))
	c.must(c.WaitGone(c.t.Context(), []corev1.Pod{last}, time.Minute))
	c.must(c.calledUnready(c.t.Context(), next.Name))
	c.must(<-back)
	c.scale(name, 1)
}

// calledUnready is nil where EndpointSlices name a pod, and say that it is not ready.
func (c *churn) calledUnready(ctx context.Context, pod string) error {
	var all discoveryv1.EndpointSliceList
	if err := c.List(ctx, &all, client.InNamespace(c.Namespace)); err != nil {
		return err
	}
	err := fmt.Errorf("no slice names pod %s", pod)
	for _, slice := range all.Items {
		for _, e := range slice.Endpoints {
			switch {
			case e.TargetRef == nil || e.TargetRef.Name != pod:
			case *e.Conditions.Ready:
				return fmt.Errorf("slice %s calls pod %s ready", slice.Name, pod)
			default:
				err = nil
			}
		}
	}
	return err
}

// withoutControllers ends kube-controller-manager. That it is back after so long is sent.
func (c *churn) withoutControllers(long time.Duration) <-chan error {
	c.t.Helper()
	back := make(chan error, 1)
	go func() {
		_, err := c.Cluster(c.t.Context(), "away", "kube-controller-manager", long.String())
		back <- err
	}()
	c.Until(time.Minute, "kube-controller-manager is away", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:10257")
		if err != nil {
			return nil
		}
		conn.Close()
		return errors.New("it listens")
	})
	return back
}
