package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/probe"
)

// Added creates Routes routes one by one. Each is asked from the call that creates it until it has
// answered 200 several times on every connection; one of those before it is asked all the time, too.
func (p Part) Added(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).added)
}

// edge is of how many routes the first and the last are compared.
const edge = 200

// full is a site whose route has what gateway-api-bench's has: filters, and a second rule whose backend
// is not there.
func full(i int) site {
	return site{fmt.Sprintf("route-%d", i), fmt.Sprintf("route-%d.test", i), fmt.Sprintf("/%d", i)}
}

func (b *bench) fullRoute(s site) *gwv1.HTTPRoute {
	r := b.route(s)
	header := func(name string) *gwv1.HTTPHeaderFilter {
		return &gwv1.HTTPHeaderFilter{Add: []gwv1.HTTPHeader{{Name: gwv1.HTTPHeaderName(name), Value: "value"}}}
	}
	filters := []gwv1.HTTPRouteFilter{
		{Type: gwv1.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: header("added")},
		{Type: gwv1.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: header("added-too")},
	}
	rest := r.Spec.Rules[0].DeepCopy()
	rest.Matches[0].Path.Value = new("/")
	rest.BackendRefs[0].Name = "nowhere"
	r.Spec.Rules = append(r.Spec.Rules, *rest)
	for i := range r.Spec.Rules {
		r.Spec.Rules[i].Filters = filters
	}
	return r
}

func (b *bench) added(ctx context.Context) ([]figure.Figure, error) {
	p, err := newProber(b.address)
	if err != nil {
		return nil, err
	}
	defer p.close()
	old := b.remember(ctx)
	defer old.stop()
	before, err := b.spent(ctx)
	if err != nil {
		return nil, err
	}
	var took times
	b.say("add %d routes one by one", b.Routes)
	for i := range b.Routes {
		s := full(i)
		at, err := b.appears(ctx, p, s)
		if err != nil {
			return nil, err
		}
		took.add(at)
		old.add(s)
		if (i+1)%500 == 0 {
			recent := figure.Figure{Samples: took[len(took)-100:]}
			b.say("%d: p50 of the last 100 %.1f ms; wrong answers %d, requests failed %d", i+1, recent.Median(), p.wrong, p.failed)
		}
	}
	after, err := b.spent(ctx)
	if err != nil {
		return nil, err
	}
	old.stop()
	return b.addedFigures(took, p, old, before, after), nil
}

// appears creates a route and returns the time from that call to the first 200.
func (b *bench) appears(ctx context.Context, p *prober, s site) (time.Duration, error) {
	failed := make(chan error, 1)
	start := time.Now()
	go func() { failed <- b.Create(ctx, b.fullRoute(s)) }()
	on, err := p.watch(ctx, s, http.StatusNotFound, http.StatusOK)
	if failure := <-failed; failure != nil {
		return 0, fmt.Errorf("create route %s: %w", s.name, failure)
	}
	return on.first.Sub(start), err
}

// memory asks one of the sites that have answered 200 after the other, on a connection of its own.
type memory struct {
	end    context.CancelFunc
	done   chan struct{}
	fresh  chan site
	asked  atomic.Int64
	wrong  atomic.Int64
	failed atomic.Int64
}

// pace is how often a site of memory is asked.
const pace = 10 * time.Millisecond

func (b *bench) remember(ctx context.Context) *memory {
	ctx, end := context.WithCancel(ctx)
	m := &memory{end: end, done: make(chan struct{}), fresh: make(chan site)}
	go m.ask(ctx, b.address)
	return m
}

func (m *memory) add(s site) {
	select {
	case m.fresh <- s:
	case <-m.done:
	}
}

// stop ends the asking. The counts stand from then on.
func (m *memory) stop() {
	m.end()
	<-m.done
}

func (m *memory) ask(ctx context.Context, address string) {
	defer close(m.done)
	var known []site
	var c *probe.Conn
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if c != nil {
				_ = c.Close() // nothing is under way on it
			}
			return
		case s := <-m.fresh:
			known = append(known, s)
		case <-tick.C:
			if len(known) > 0 {
				c = m.one(c, address, known[rand.IntN(len(known))])
			}
		}
	}
}

// one asks for a site and returns the connection for the next time, none after a failure.
func (m *memory) one(c *probe.Conn, address string, s site) *probe.Conn {
	m.asked.Add(1)
	var err error
	if c == nil {
		if c, err = probe.Dial(address, s.host, s.path); err != nil {
			m.failed.Add(1)
			return nil
		}
	}
	c.Ask(s.host, s.path)
	status, err := c.Status()
	switch {
	case err != nil:
		m.failed.Add(1)
		_ = c.Close() // it has failed already
		return nil
	case status != http.StatusOK:
		m.wrong.Add(1)
	}
	return c
}

func (b *bench) addedFigures(took times, p *prober, old *memory, before, after spent) []figure.Figure {
	n := len(took)
	near := min(edge, n)
	row := func(name, unit string, samples []float64, beside ...string) figure.Figure {
		return figure.Figure{Name: "route probe: " + name, Unit: unit, Samples: samples, Beside: beside}
	}
	return []figure.Figure{
		row(fmt.Sprintf("create called → first 200, routes 1 to %d", near), "ms", took[:near], tail(took[:near]), "aim: median ≤ 30 ms"),
		row(fmt.Sprintf("create called → first 200, routes %d to %d", n-near+1, n), "ms", took[n-near:], tail(took[n-near:]),
			figure.Published("at 3,000 routes: agentgateway 10-30 ms, Istio 120-300, Envoy Gateway 600, NGINX 800")),
		row(fmt.Sprintf("create called → first 200, all %d", n), "ms", took, tail(took)),
		row("wrong answers", "", []float64{float64(p.wrong) + float64(old.wrong.Load())}, fmt.Sprintf("aim: 0; %d requests to routes that had answered before", old.asked.Load()),
			figure.Published("agentgateway, Istio, NGINX 0; Envoy Gateway 14808")),
		row("failed requests and connections", "", []float64{float64(p.failed) + float64(old.failed.Load())}, "aim: 0"),
		row("one route added: xDS to one proxy", "bytes", []float64{(after.bytes - before.bytes) / float64(n)}, "aim: constant in the number of routes"),
		row("one route added: operator", "CPU ms", []float64{(after.operator - before.operator) / float64(n) * 1e3}),
		row("one route added: one Envoy, probes included", "CPU ms", []float64{(after.proxy - before.proxy) / float64(n) * 1e3}),
	}
}

// tail tells the 90th and the 99th of a hundred.
func tail(samples []float64) string {
	s := slices.Sorted(slices.Values(samples))
	return fmt.Sprintf("p90 %.1f ms, p99 %.1f ms", s[len(s)*90/100], s[len(s)*99/100])
}
