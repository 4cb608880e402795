package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/e2e/stage"
)

// Scaled makes Namespaces with PerNamespace Services and routes each, and has pods come and go and routes
// change for Churn.
//
// gateway-api-bench gives each Service a pod on nodes that are none. Here, where there is one real
// kubelet, a Service has an EndpointSlice that names the shop's pod, but for those of some Deployments,
// whose pods come and go.
func (p Part) Scaled(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).scaled)
}

const (
	scaledLabel = "bench-scaled"
	deployments = 10              // that are scaled between 1 and 2, in turn
	scalePause  = 2 * time.Second // gateway-api-bench's jitter of workloads
	editPause   = time.Second     // and of configuration
	underChurn  = 30              // routes added while all that goes on
)

// town is what the many namespaces hold.
type town struct {
	*bench
	spaces []string
	pod    string // the address of the shop's pod
}

func (b *bench) scaled(ctx context.Context) (all []figure.Figure, err error) {
	t := &town{bench: b}
	defer func() { err = errors.Join(err, t.raze(context.WithoutCancel(ctx))) }()
	before, err := b.using()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := t.build(ctx); err != nil {
		return nil, err
	}
	took := time.Since(start)
	built, err := b.using()
	if err != nil {
		return nil, err
	}
	b.say("built after %s: operator %.1f CPU s and %.0f MB, one Envoy %.1f and %.0f", took.Round(time.Second),
		built.operator.CPUSeconds-before.operator.CPUSeconds, built.operator.ResidentMB, built.proxy.CPUSeconds-before.proxy.CPUSeconds, built.proxy.ResidentMB)
	during, err := t.churn(ctx)
	if err != nil {
		return nil, err
	}
	return t.figures(took, before, built, during), nil
}

// using is what the operator and one proxy use.
type using struct{ operator, proxy process.Usage }

func (b *bench) using() (u using, err error) {
	if u.operator, err = b.operator.usage(); err != nil {
		return u, err
	}
	u.proxy, err = b.proxies.usage()
	n := float64(max(len(b.proxies.pids), 1))
	u.proxy.CPUSeconds, u.proxy.ResidentMB, u.proxy.PeakMB = u.proxy.CPUSeconds/n, u.proxy.ResidentMB/n, u.proxy.PeakMB/n
	return u, err
}

func (t *town) name(i int) string { return "app-" + strconv.Itoa(i%t.PerNamespace) }

func (t *town) space(i int) string { return t.spaces[i/t.PerNamespace] }

func (t *town) site(i int) site {
	host := fmt.Sprintf("%s.%d.test", t.name(i), i/t.PerNamespace)
	return site{t.name(i), host, "/"}
}

// build makes all, and waits until the last of each namespace serves.
func (t *town) build(ctx context.Context) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	many := t.Namespaces * t.PerNamespace
	t.say("add %d namespaces with %d Services and routes each", t.Namespaces, t.PerNamespace)
	if err := atOnce(0, many, func(i int) error { return t.app(ctx, i) }); err != nil {
		return err
	}
	t.say("all are created")
	for i := t.PerNamespace - 1; i < many; i += t.PerNamespace {
		if err := t.answers(ctx, t.site(i), 200); err != nil {
			return err
		}
	}
	return stage.Until(ctx, slow, func(ctx context.Context) error {
		var front gwv1.Gateway
		if err := t.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: "front"}, &front); err != nil {
			return err
		}
		if got := front.Status.Listeners[0].AttachedRoutes; int(got) != many {
			return fmt.Errorf("%d of %d routes are attached", got, many)
		}
		return nil
	})
}

// open lets routes of all namespaces in, and makes the namespaces.
func (t *town) open(ctx context.Context) error {
	front := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: "front"}}
	patch := `[{"op":"add","path":"/spec/listeners/0/allowedRoutes","value":{"namespaces":{"from":"All"}}}]`
	if err := t.Patch(ctx, front, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
		return fmt.Errorf("open the Gateway to all namespaces: %w", err)
	}
	shops, err := t.pods(ctx, t.namespace, client.MatchingLabels{"app": "shop"}, "shop")
	if err != nil {
		return err
	}
	t.pod = shops.pods[0].Status.PodIP
	for range t.Namespaces {
		space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-scaled-", Labels: map[string]string{scaledLabel: t.namespace}}}
		if err := t.Create(ctx, space); err != nil {
			return fmt.Errorf("make a namespace: %w", err)
		}
		t.spaces = append(t.spaces, space.Name)
	}
	return nil
}

// app makes one Service, its endpoint and its route.
func (t *town) app(ctx context.Context, i int) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: t.space(i), Name: t.name(i)}}
	service.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80}}
	route := t.route(t.site(i))
	route.Namespace = t.space(i)
	route.Spec.ParentRefs[0].Namespace = new(gwv1.Namespace(t.namespace))
	route.Spec.Rules[0].BackendRefs[0].Name = gwv1.ObjectName(t.name(i))
	objects := []client.Object{service, t.slice(i), route}
	if i < deployments {
		service.Spec.Selector = map[string]string{"app": t.name(i)}
		service.Spec.Ports[0].TargetPort.IntVal = 8080
		objects[1] = t.deployment(ctx, i)
	}
	for _, object := range objects {
		if err := t.Create(ctx, object); err != nil {
			return fmt.Errorf("make %T %s/%s: %w", object, t.space(i), t.name(i), err)
		}
	}
	return nil
}

func (t *town) slice(i int) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
	slice.Namespace, slice.Name = t.space(i), t.name(i)
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: t.name(i)}
	slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{t.pod}}}
	slice.Ports = []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}}
	return slice
}

// deployment is the shop's once more, under another name.
func (t *town) deployment(ctx context.Context, i int) *appsv1.Deployment {
	var shop appsv1.Deployment
	if err := t.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: "shop"}, &shop); err != nil {
		t.say("%v", err) // the creation fails, too
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: t.space(i), Name: t.name(i)}, Spec: *shop.Spec.DeepCopy()}
	labels := map[string]string{"app": t.name(i)}
	d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
	return d
}

// churned is what the operator and a proxy used while pods came and went.
type churned struct {
	using
	asked, wrong, failed int64
	added                *result
}

// churn scales the Deployments and edits the routes in turn, and asks for all of them.
func (t *town) churn(ctx context.Context) (c churned, err error) {
	m := t.remember(ctx)
	defer m.stop()
	for i := range t.Namespaces * t.PerNamespace {
		m.add(t.site(i))
	}
	errs := []error{t.operator.forgetPeak(), t.proxies.forgetPeak()}
	before, err := t.using()
	if err = errors.Join(append(errs, err)...); err != nil {
		return c, err
	}
	t.say("for %s, a Deployment of %d is scaled every %s and a route is edited every %s", t.Churn, deployments, scalePause, editPause)
	turn, cancel := context.WithCancel(ctx)
	defer cancel()
	turned := make(chan error, 1)
	go func() { turned <- t.turn(turn) }()
	select {
	case err := <-turned:
		return c, err
	case <-time.After(t.Churn):
	}
	after, err := t.using()
	if err != nil {
		return c, err
	}
	c.using = after
	c.operator.CPUSeconds -= before.operator.CPUSeconds
	c.proxy.CPUSeconds -= before.proxy.CPUSeconds
	t.say("operator %.2f CPU s, one Envoy %.2f; %d requests, %d wrong answers, %d failed", c.operator.CPUSeconds, c.proxy.CPUSeconds, m.asked.Load(), m.wrong.Load(), m.failed.Load())
	if c.added, err = t.probeOwn(ctx, underChurn, "under churn"); err != nil {
		return c, err
	}
	cancel()
	err = <-turned
	m.stop()
	c.asked, c.wrong, c.failed = m.asked.Load(), m.wrong.Load(), m.failed.Load()
	return c, err
}

// turn goes on until ctx ends.
func (t *town) turn(ctx context.Context) error {
	scale, edit := time.NewTicker(scalePause), time.NewTicker(editPause)
	defer scale.Stop()
	defer edit.Stop()
	for scaled, edited := 0, 0; ; {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-scale.C:
			err = t.scaleOne(ctx, scaled)
			scaled++
		case <-edit.C:
			err = t.editOne(ctx, edited)
			edited++
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (t *town) scaleOne(ctx context.Context, n int) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: t.space(0), Name: t.name(n % deployments)}}
	replicas := 2 - n/deployments%2
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	if err := t.Patch(ctx, d, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("scale %s: %w", d.Name, err)
	}
	return nil
}

// editOne sets a header on one of the routes, of another namespace each time.
func (t *town) editOne(ctx context.Context, n int) error {
	i := (n*(t.PerNamespace+1) + n/t.PerNamespace) % (t.Namespaces * t.PerNamespace)
	var route gwv1.HTTPRoute
	if err := t.Get(ctx, client.ObjectKey{Namespace: t.space(i), Name: t.name(i)}, &route); err != nil {
		return fmt.Errorf("read a route: %w", err)
	}
	old := route.DeepCopy()
	route.Spec.Rules[0].Filters = []gwv1.HTTPRouteFilter{answered(strconv.Itoa(n))}
	if err := t.Patch(ctx, &route, client.MergeFrom(old)); err != nil {
		return fmt.Errorf("edit route %s: %w", route.Name, err)
	}
	return nil
}

// patience is how long the namespace controller may take to empty fifty namespaces of 15,000 objects: it is
// allowed some 20 calls a second.
const patience = 15 * time.Minute

// raze removes the namespaces and waits until their routes are gone.
func (t *town) raze(ctx context.Context) error {
	t.say("remove the namespaces")
	err := atOnce(0, len(t.spaces), func(i int) error {
		return t.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.spaces[i]}})
	})
	if err != nil {
		return fmt.Errorf("remove a namespace: %w", err)
	}
	return stage.Until(ctx, patience, func(ctx context.Context) error {
		var left corev1.NamespaceList
		if err := t.List(ctx, &left, client.MatchingLabels{scaledLabel: t.namespace}); err != nil || len(left.Items) > 0 {
			return fmt.Errorf("%d namespaces are still there: %v", len(left.Items), err)
		}
		return nil
	})
}

func (t *town) figures(took time.Duration, before, built using, c churned) []figure.Figure {
	row := func(name, unit string, value float64, beside ...string) figure.Figure {
		return figure.Figure{Name: fmt.Sprintf("%d routes in %d namespaces: ", t.Namespaces*t.PerNamespace, t.Namespaces) + name, Unit: unit, Samples: []float64{value}, Beside: beside}
	}
	long := t.Churn.Seconds()
	return append([]figure.Figure{
		row("created, attached and serving after", "s", took.Seconds(), "with as many Services and EndpointSlices, most of it the API server's"),
		row("operator's CPU to take them in", "CPU s", built.operator.CPUSeconds-before.operator.CPUSeconds),
		row("one Envoy's CPU to take them in", "CPU s", built.proxy.CPUSeconds-before.proxy.CPUSeconds),
		row("operator under churn", "% of a core", c.operator.CPUSeconds/long*100,
			fmt.Sprintf("for %s, a Deployment scaled every %s, a route edited every %s", t.Churn, scalePause, editPause),
			figure.Published("Istio 1x, Kong 3.1, NGINX 5.2, kgateway 6.6, Envoy Gateway 14.6, Cilium 16.4; steady: agentgateway 1x, Istio 4, NGINX 9, Envoy Gateway 82")),
		row("operator's RSS at its peak under churn", "MB", c.operator.PeakMB, figure.Published("Cilium 1x, Kong 1.1, Istio 1.5, kgateway 6.2, Envoy Gateway 8.7 and leaking")),
		row("one Envoy under churn, its requests included", "% of a core", c.proxy.CPUSeconds/long*100, figure.Published("20 to 45, agentgateway below 1")),
		row("one Envoy's RSS at its peak under churn", "MB", c.proxy.PeakMB, figure.Published("1,000 to 1,800, agentgateway 40")),
		row("requests that failed or were answered wrongly", "", float64(c.wrong+c.failed), fmt.Sprintf("aim: 0; of %d", c.asked)),
	}, figure.Figure{Name: "route: create called → first 200, under churn", Unit: "ms", Samples: c.added.fromCall, Beside: []string{"aim: median ≤ 30 ms", tail(c.added.fromCall),
		figure.Published("agentgateway 30 ms, Istio 375, Envoy Gateway 2000, NGINX fails")}},
		figure.Figure{Name: "route: wrong answers and failed requests, under churn", Samples: []float64{float64(c.added.wrong + c.added.failed)}, Beside: []string{"aim: 0"}})
}
