package gateway

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
)

// Attached creates Routes routes at once and measures how long it takes until the Gateway counts them
// and each says that it is accepted; then it removes them.
func (p Part) Attached(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).attached)
}

// audience hears of every write to the Gateway and to the routes.
type audience struct {
	gateway, routes watch.Interface

	attached    int32 // that the Gateway counts
	accepted    map[string]bool
	there       map[string]bool
	gatewaySaid int // writes to the Gateway
	routesSaid  int // writes to routes after their creation, while they are there
}

func (b *bench) attend(ctx context.Context) (*audience, error) {
	c, err := client.NewWithWatch(b.Config, client.Options{Scheme: b.Scheme()})
	if err != nil {
		return nil, err
	}
	a := &audience{accepted: map[string]bool{}, there: map[string]bool{}}
	if a.gateway, err = c.Watch(ctx, &gwv1.GatewayList{}, client.InNamespace(b.namespace)); err != nil {
		return nil, fmt.Errorf("watch the Gateway: %w", err)
	}
	if a.routes, err = c.Watch(ctx, &gwv1.HTTPRouteList{}, client.InNamespace(b.namespace)); err != nil {
		a.gateway.Stop()
		return nil, fmt.Errorf("watch the routes: %w", err)
	}
	return a, nil
}

func (a *audience) stop() {
	a.gateway.Stop()
	a.routes.Stop()
}

// until hears on until something is so.
func (a *audience) until(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	for !so() {
		select {
		case e := <-a.gateway.ResultChan():
			a.hearGateway(e)
		case e := <-a.routes.ResultChan():
			a.hearRoute(e)
		case <-ctx.Done():
			return fmt.Errorf("%s: the Gateway counts %d routes, %d of %d are accepted: %w", what, a.attached, len(a.accepted), len(a.there), ctx.Err())
		}
	}
	return nil
}

func (a *audience) hearGateway(e watch.Event) {
	g, ok := e.Object.(*gwv1.Gateway)
	if !ok {
		return
	}
	if e.Type == watch.Modified {
		a.gatewaySaid++
	}
	a.attached = 0
	for _, l := range g.Status.Listeners {
		a.attached += l.AttachedRoutes
	}
}

func (a *audience) hearRoute(e watch.Event) {
	r, ok := e.Object.(*gwv1.HTTPRoute)
	if !ok {
		return
	}
	delete(a.accepted, r.Name)
	if e.Type == watch.Deleted {
		delete(a.there, r.Name)
		return
	}
	a.there[r.Name] = true
	if e.Type == watch.Modified {
		a.routesSaid++
	}
	for _, parent := range r.Status.Parents {
		if meta.IsStatusConditionTrue(parent.Conditions, string(gwv1.RouteConditionAccepted)) {
			a.accepted[r.Name] = true
		}
	}
}

// filled is what adding or removing all routes took.
type filled struct {
	all, since              time.Duration // from the first call, and from the return of the last
	gatewaySaid, routesSaid int
}

// follow runs what changes the routes and hears until something is so.
func (a *audience) follow(ctx context.Context, what string, change func() error, so func() bool) (f filled, err error) {
	gatewaySaid, routesSaid := a.gatewaySaid, a.routesSaid
	start, returned, failed := time.Now(), make(chan time.Time, 1), make(chan error, 1)
	go func() {
		err := change()
		returned <- time.Now()
		failed <- err
	}()
	err = a.until(ctx, what, so)
	end := time.Now()
	last := <-returned
	if failure := <-failed; failure != nil {
		return f, failure
	}
	return filled{end.Sub(start), max(end.Sub(last), 0), a.gatewaySaid - gatewaySaid, a.routesSaid - routesSaid}, err
}

func (b *bench) attached(ctx context.Context) ([]figure.Figure, error) {
	a, err := b.attend(ctx)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	before, err := b.operator.usage()
	if err != nil {
		return nil, err
	}
	b.say("add %d routes at once", b.Routes)
	up, err := a.follow(ctx, "routes added", func() error { return b.create(ctx, 0, b.Routes, own) },
		func() bool { return int(a.attached) == b.Routes && len(a.accepted) == b.Routes })
	if err != nil {
		return nil, err
	}
	b.say("counted and accepted after %s, %s after the last was created", up.all.Round(time.Millisecond), up.since.Round(time.Millisecond))
	middle, err := b.operator.usage()
	if err != nil {
		return nil, err
	}
	b.say("remove them")
	down, err := a.follow(ctx, "routes removed", func() error { return b.discard(ctx) },
		func() bool { return a.attached == 0 && len(a.there) == 0 })
	if err != nil {
		return nil, err
	}
	b.say("counted none after %s, %s after the last was removed", down.all.Round(time.Millisecond), down.since.Round(time.Millisecond))
	after, err := b.operator.usage()
	return b.attachedFigures(up, down, middle.CPUSeconds-before.CPUSeconds, after.CPUSeconds-middle.CPUSeconds), err
}

func (b *bench) discard(ctx context.Context) error {
	return atOnce(0, b.Routes, func(i int) error { return b.Delete(ctx, b.route(own("many", i))) })
}

func (b *bench) attachedFigures(up, down filled, upCPU, downCPU float64) []figure.Figure {
	row := func(name, unit string, value float64, beside ...string) figure.Figure {
		return figure.Figure{Name: fmt.Sprintf("attached routes: %d %s", b.Routes, name), Unit: unit, Samples: []float64{value}, Beside: beside}
	}
	return []figure.Figure{
		row("created, counted and accepted after", "s", up.all.Seconds()),
		row("the same, from the last one's creation", "s", up.since.Seconds(), figure.Published("Cilium 1 s, Kong 1, Istio 2, kgateway 12, Envoy Gateway 23, NGINX 29, Traefik 180")),
		row("removed, from the last one's removal", "s", down.since.Seconds(), figure.Published("NGINX 15 s, kgateway 16, Traefik 16, Cilium 18, Istio 20, Kong 22, Envoy Gateway 45")),
		row("created and removed: writes to the Gateway", "", float64(up.gatewaySaid+down.gatewaySaid), figure.Published("Traefik 73, NGINX 82, Cilium 193, Istio 311, kgateway 323, Envoy Gateway 1383, Kong 1403")),
		row("created and removed: writes to each route", "", float64(up.routesSaid+down.routesSaid)/float64(b.Routes), "the least: 1"),
		row("created: operator", "CPU s", upCPU, figure.Published("Envoy Gateway 57.9 s for 10 → 1,000")),
		row("removed: operator", "CPU s", downCPU),
	}
}
