package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
)

// Attached creates Routes routes at once and measures how long it takes until the Gateway counts them
// and each says that it is accepted; then it removes them.
func (p Part) Attached(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).attached)
}

// audience hears of every state of the Gateway and of the routes.
type audience struct {
	stop    context.CancelFunc
	changed chan struct{}

	mu       sync.Mutex
	attached int32 // that the Gateway counts
	accepted map[string]bool
	there    map[string]bool
}

func (b *bench) attend(ctx context.Context) (*audience, error) {
	watched, err := cache.New(b.Config, cache.Options{Scheme: b.Scheme(), DefaultNamespaces: map[string]cache.Config{b.namespace: {}}})
	if err != nil {
		return nil, fmt.Errorf("watch the Gateway and its routes: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	a := &audience{stop: stop, changed: make(chan struct{}, 1), accepted: map[string]bool{}, there: map[string]bool{}}
	go func() { _ = watched.Start(ctx) }() // it ends with ctx
	for _, kind := range []client.Object{&gwv1.Gateway{}, &gwv1.HTTPRoute{}} {
		informer, err := watched.GetInformer(ctx, kind)
		if err == nil {
			_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
				AddFunc: func(o any) { a.hear(o, true) }, UpdateFunc: func(_, o any) { a.hear(o, true) }, DeleteFunc: func(o any) { a.hear(o, false) },
			})
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	return a, nil
}

// until waits until something is so.
func (a *audience) until(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	for {
		a.mu.Lock()
		is, attached, accepted, there := so(), a.attached, len(a.accepted), len(a.there)
		a.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-a.changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: the Gateway counts %d routes, %d of %d are accepted: %w", what, attached, accepted, there, ctx.Err())
		}
	}
}

func (a *audience) hear(object any, there bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch o := object.(type) {
	case *gwv1.Gateway:
		a.attached = 0
		for _, l := range o.Status.Listeners {
			a.attached += l.AttachedRoutes
		}
	case *gwv1.HTTPRoute:
		a.hearRoute(o, there)
	case toolscache.DeletedFinalStateUnknown:
		_, name, _ := toolscache.SplitMetaNamespaceKey(o.Key)
		a.hearRoute(&gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: name}}, false)
	}
	select {
	case a.changed <- struct{}{}:
	default: // it is to be looked at anyway
	}
}

func (a *audience) hearRoute(r *gwv1.HTTPRoute, there bool) {
	delete(a.accepted, r.Name)
	if !there {
		delete(a.there, r.Name)
		return
	}
	a.there[r.Name] = true
	for _, parent := range r.Status.Parents {
		if meta.IsStatusConditionTrue(parent.Conditions, string(gwv1.RouteConditionAccepted)) {
			a.accepted[r.Name] = true
		}
	}
}

// filled is what adding or removing all routes took.
type filled struct{ all, since time.Duration } // from the first call, and from the return of the last

// follow runs what changes the routes and waits until something is so.
func (a *audience) follow(ctx context.Context, what string, change func() error, so func() bool) (f filled, err error) {
	start, returned, failed := time.Now(), make(chan time.Time, 1), make(chan error, 1)
	go func() {
		err := change()
		returned <- time.Now()
		failed <- err
	}()
	err = a.until(ctx, what, so)
	end := time.Now()
	last := <-returned
	return filled{end.Sub(start), max(end.Sub(last), 0)}, errors.Join(<-failed, err)
}

// written counts the statuses that Weft has written in the namespace since a time, which is known of the
// local cluster only.
func (b *bench) written(ctx context.Context, since time.Time) (gateways, routes int, err error) {
	if !b.Local {
		return 0, 0, nil
	}
	all, err := b.Writes(ctx)
	for _, w := range all {
		switch {
		case w.Namespace != b.namespace || w.At.Before(since):
		case w.Resource == "gateways":
			gateways++
		case w.Resource == "httproutes":
			routes++
		}
	}
	return gateways, routes, err
}

func (b *bench) attached(ctx context.Context) ([]figure.Figure, error) {
	a, err := b.attend(ctx)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	start := time.Now()
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
	if err != nil {
		return nil, err
	}
	gateways, routes, err := b.written(ctx, start)
	all := b.attachedFigures(up, down, middle.CPUSeconds-before.CPUSeconds, after.CPUSeconds-middle.CPUSeconds)
	if b.Local {
		all = append(all, b.writeFigures(gateways, routes)...)
	}
	return all, err
}

func (b *bench) discard(ctx context.Context) error {
	return atOnce(0, b.Routes, func(i int) error { return b.Delete(ctx, b.route(own("many", i))) })
}

func (b *bench) attachedRow(name, unit string, value float64, beside ...string) figure.Figure {
	return figure.Figure{Name: fmt.Sprintf("attached routes: %d %s", b.Routes, name), Unit: unit, Samples: []float64{value}, Beside: beside}
}

func (b *bench) attachedFigures(up, down filled, upCPU, downCPU float64) []figure.Figure {
	row := b.attachedRow
	return []figure.Figure{
		row("created, counted and accepted after", "s", up.all.Seconds()),
		row("the same, from the last one's creation", "s", up.since.Seconds(), figure.Published("Cilium 1 s, Kong 1, Istio 2, kgateway 12, Envoy Gateway 23, NGINX 29, Traefik 180")),
		row("removed, from the last one's removal", "s", down.since.Seconds(), figure.Published("NGINX 15 s, kgateway 16, Traefik 16, Cilium 18, Istio 20, Kong 22, Envoy Gateway 45")),
		row("created: operator", "CPU s", upCPU, figure.Published("Envoy Gateway 57.9 s for 10 → 1,000")),
		row("removed: operator", "CPU s", downCPU),
	}
}

func (b *bench) writeFigures(gateways, routes int) []figure.Figure {
	return []figure.Figure{
		b.attachedRow("created and removed: writes to the Gateway", "", float64(gateways), figure.Published("Traefik 73, NGINX 82, Cilium 193, Istio 311, kgateway 323, Envoy Gateway 1383, Kong 1403")),
		b.attachedRow("created and removed: writes to each route", "", float64(routes)/float64(b.Routes), "the least: 1"),
	}
}
