package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/e2e/load"
)

// Changed changes one route Alternations times while requests pass it, and counts those that fail.
func (p Part) Changed(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).changed)
}

const (
	changeRate  = 500                    // requests per second, open loop
	changePause = 200 * time.Millisecond // between changes, as gateway-api-bench has it
)

// alternations are what becomes of the route, over and over: backends that the proxies do not know yet,
// or no longer, among them.
var alternations = []struct {
	name string
	make func(rule *gwv1.HTTPRouteRule)
}{
	{"another port", func(r *gwv1.HTTPRouteRule) { r.BackendRefs = []gwv1.HTTPBackendRef{backend("shop", 8080, 1)} }},
	{"headers", func(r *gwv1.HTTPRouteRule) { r.Filters = []gwv1.HTTPRouteFilter{answered("changed")} }},
	{"weights", func(r *gwv1.HTTPRouteRule) {
		r.BackendRefs = []gwv1.HTTPBackendRef{backend("shop", 80, 1), backend("shop-too", 80, 9)}
	}},
	{"other weights", func(r *gwv1.HTTPRouteRule) {
		r.BackendRefs = []gwv1.HTTPBackendRef{backend("shop", 80, 5), backend("shop-too", 80, 5)}
	}},
	{"another Service", func(r *gwv1.HTTPRouteRule) { r.BackendRefs = []gwv1.HTTPBackendRef{backend("shop-too", 80, 1)} }},
	{"as it was", func(*gwv1.HTTPRouteRule) {}},
}

func backend(service string, port gwv1.PortNumber, weight int32) (to gwv1.HTTPBackendRef) {
	to.Name, to.Port, to.Weight = gwv1.ObjectName(service), &port, &weight
	return to
}

func answered(value string) gwv1.HTTPRouteFilter {
	return gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterResponseHeaderModifier,
		ResponseHeaderModifier: &gwv1.HTTPHeaderFilter{Add: []gwv1.HTTPHeader{{Name: "my-added-header", Value: value}}}}
}

func (b *bench) changed(ctx context.Context) ([]figure.Figure, error) {
	s := site{"changed", "changed.test", "/"}
	route := b.route(s)
	if err := b.Create(ctx, route); err != nil {
		return nil, fmt.Errorf("create the route: %w", err)
	}
	if err := b.answers(ctx, s, http.StatusOK); err != nil {
		return nil, err
	}
	plain := route.Spec.Rules[0]
	b.say("change a route %d times under %d requests per second", b.Alternations, changeRate)
	l := load.Start(load.Target{Address: b.address, Host: s.host}, changeRate)
	for i := range b.Alternations {
		if err := b.alternate(ctx, l, route, plain, i); err != nil {
			l.Stop()
			return nil, err
		}
	}
	counts := load.Table(l.Stop(), nil)
	fmt.Fprint(b.Progress, load.Print(counts))
	return b.changedFigures(counts), nil
}

// alternate makes change number i; before each round a sibling on the same hostname comes, or goes.
func (b *bench) alternate(ctx context.Context, l *load.Load, route *gwv1.HTTPRoute, plain gwv1.HTTPRouteRule, i int) error {
	now := alternations[i%len(alternations)]
	l.Step(now.name)
	rule := plain.DeepCopy()
	now.make(rule)
	old := route.DeepCopy()
	route.Spec.Rules = []gwv1.HTTPRouteRule{*rule}
	if err := b.Patch(ctx, route, client.MergeFrom(old)); err != nil {
		return fmt.Errorf("change %d of the route: %w", i, err)
	}
	if i%len(alternations) == 0 {
		if err := b.sibling(ctx, i/len(alternations)); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(changePause):
		return nil
	}
}

// sibling adds a route on the same hostname in one round and removes it in the next.
func (b *bench) sibling(ctx context.Context, round int) error {
	r := b.route(site{"sibling", "changed.test", "/sibling"})
	if round%2 == 1 {
		return b.Delete(ctx, r)
	}
	return b.Create(ctx, r)
}

func (b *bench) changedFigures(counts []load.Count) []figure.Figure {
	sent, failed := 0, 0
	var p99 []float64
	for _, c := range counts {
		sent, failed = sent+c.Sent, failed+c.Failed
		p99 = append(p99, float64(c.P99.Microseconds())/1e3)
	}
	name := fmt.Sprintf("route changed %d times under %d requests per second: ", b.Alternations, changeRate)
	return []figure.Figure{
		{Name: name + "failed requests", Samples: []float64{float64(failed)}, Beside: []string{fmt.Sprintf("aim: 0; of %d", sent),
			figure.Published("agentgateway, Istio, kgateway, Kong, Traefik pass; NGINX, Envoy Gateway, Cilium fail")}},
		{Name: name + "p99 of each kind of change", Unit: "ms", Samples: p99},
	}
}
