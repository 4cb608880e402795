package gateway

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/bench/figure"
)

// times are samples in milliseconds.
type times []float64

func (t *times) add(d time.Duration) { *t = append(*t, float64(d.Microseconds())/1e3) }

// result is what a row of changes gave.
type result struct {
	with       string // what else there was
	fromCall   times  // from the start of the call that creates the route to the first 200
	fromReturn times  // from that call's end
	everywhere times  // from its start until every connection has 200
	removed    times  // from the start of the removal until no connection has 200
	changes    int
	wrong      int
	failed     int
	bytes      float64 // that one proxy read for a route added and removed
	operator   float64 // CPU milliseconds for it
	proxy      float64 // of one proxy
}

// probeOwn changes routes on hostnames of their own.
func (b *bench) probeOwn(ctx context.Context, changes int, with string) (*result, error) {
	b.say("%d routes come and go on hostnames of their own: %s", changes, with)
	r, err := b.probe(ctx, changes, func(i int) site { return own("probe", i) })
	if err == nil {
		r.with = with
		b.say("p50 %.1f ms, wrong answers %d, requests failed %d", figure.Figure{Samples: r.fromCall}.Median(), r.wrong, r.failed)
	}
	return r, err
}

func (b *bench) probe(ctx context.Context, changes int, of func(i int) site) (*result, error) {
	p, err := newProber(b.address)
	if err != nil {
		return nil, err
	}
	defer p.close()
	r := &result{changes: changes}
	before, err := b.spent(ctx)
	if err != nil {
		return nil, err
	}
	pace := time.NewTicker(settle)
	defer pace.Stop()
	for i := range changes {
		if err := b.change(ctx, p, of(i), r); err != nil {
			return nil, err
		}
		<-pace.C
	}
	after, err := b.spent(ctx)
	if err != nil {
		return nil, err
	}
	n := float64(changes)
	r.wrong, r.failed = p.wrong, p.failed
	r.bytes, r.operator, r.proxy = (after.bytes-before.bytes)/n, (after.operator-before.operator)/n*1e3, (after.proxy-before.proxy)/n*1e3
	return r, nil
}

// Of others, measured by their makers or by howardjohn/gateway-api-bench on 16 cores.
var published = []string{
	figure.Published("agentgateway 10-30 ms, Istio 120-300, Envoy Gateway 600"),
}

func (r *result) figures() []figure.Figure {
	row := func(name, unit string, samples []float64, beside ...string) figure.Figure {
		return figure.Figure{Name: name + ", " + r.with, Unit: unit, Samples: samples, Beside: beside}
	}
	return []figure.Figure{
		row("route: create called → first 200", "ms", r.fromCall, append([]string{"aim: median ≤ 30 ms"}, published...)...),
		row("route: create returned → first 200", "ms", r.fromReturn),
		row("route: create called → 200 on every connection", "ms", r.everywhere),
		row("route: delete called → 404 on every connection", "ms", r.removed),
		row("route: wrong answers and failed requests", "", []float64{float64(r.wrong + r.failed)}, "aim: 0"),
		row("route added and removed: xDS to one proxy", "bytes", []float64{r.bytes}, "aim: constant in the number of routes"),
		row("route added and removed: operator", "CPU ms", []float64{r.operator}),
		row("route added and removed: one Envoy, probes included", "CPU ms", []float64{r.proxy}),
	}
}

// shared prints the curve of routes that share one hostname: they are one virtual host, which
// goes out whole.
func (b *bench) shared(ctx context.Context) (all []figure.Figure, err error) {
	from := 0
	for _, n := range b.Sharing {
		b.say("%d routes share one hostname", n)
		if err := b.fill(ctx, from, n, sharing); err != nil {
			return nil, err
		}
		from = n
		r, err := b.probe(ctx, b.Few, func(i int) site { return sharing("probe"+strconv.Itoa(n), i) })
		if err != nil {
			return nil, err
		}
		all = append(all, figure.Figure{Name: fmt.Sprintf("route on a hostname shared by %d: create called → first 200", n), Unit: "ms", Samples: r.fromCall,
			Beside: []string{fmt.Sprintf("xDS for one added and removed: %.1f kB; wrong or failed: %d", r.bytes/1e3, r.wrong+r.failed)}})
	}
	return all, nil
}
