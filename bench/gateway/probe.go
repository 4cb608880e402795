package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/bench/probe"
)

// connections are asked in turn. The Service spreads them, so that both proxies are asked.
const connections = 4

// again is how often each connection is asked after its first 200, for an answer that falls back.
const again = 5

// prober asks for one site after the other on the same connections.
type prober struct {
	address string
	conns   []*probe.Conn
	wrong   int // answers that were neither the old nor the new one
	failed  int // requests without an answer
}

func newProber(address string) (*prober, error) {
	p := &prober{address: address}
	for range connections {
		c, err := probe.Dial(address, "nowhere.test", "/")
		if err != nil {
			p.close()
			return nil, err
		}
		p.conns = append(p.conns, c)
	}
	return p, nil
}

func (p *prober) close() {
	for _, c := range p.conns {
		_ = c.Close() // nothing is under way on it
	}
}

// turn is when a site's answers turned from one status to another.
type turn struct{ first, all time.Time }

// watch asks for s until every connection has had the answer wanted, and a few times more.
func (p *prober) watch(ctx context.Context, s site, before, wanted int) (t turn, err error) {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	had := make([]int, len(p.conns))
	for left := len(p.conns); left > 0; {
		for i := range p.conns {
			if had[i] > again {
				continue
			}
			if p.ask(i, s, before, wanted, &had[i]) {
				t.all = time.Now()
				if t.first.IsZero() {
					t.first = t.all
				}
			}
			if had[i] > again {
				left--
			}
			select {
			case <-ctx.Done():
				return t, fmt.Errorf("%s%s does not answer %d: %w", s.host, s.path, wanted, ctx.Err())
			case <-time.After(probe.Pause):
			}
		}
	}
	return t, nil
}

// ask sends one request and reports whether it is the connection's first answer wanted.
func (p *prober) ask(i int, s site, before, wanted int, had *int) (first bool) {
	p.conns[i].Ask(s.host, s.path)
	status, err := p.conns[i].Status()
	switch {
	case err != nil:
		p.failed++
		_ = p.conns[i].Close() // it has failed already
		if c, err := probe.Dial(p.address, s.host, s.path); err == nil {
			p.conns[i] = c
		}
	case status == wanted:
		*had++
		return *had == 1
	case status != before || *had > 0:
		p.wrong++
	}
	return false
}

// settle is the least time between two changes, for what follows one to come to rest.
const settle = 150 * time.Millisecond

// change creates a route, waits until it serves, removes it and waits until it does not.
func (b *bench) change(ctx context.Context, p *prober, s site, r *result) error {
	route := b.route(s)
	created, failed := make(chan time.Time, 1), make(chan error, 1)
	start := time.Now()
	go func() {
		failed <- b.Create(ctx, route)
		created <- time.Now()
	}()
	on, err := p.watch(ctx, s, http.StatusNotFound, http.StatusOK)
	if failure := <-failed; failure != nil {
		return fmt.Errorf("create route %s: %w", s.name, failure)
	}
	if err != nil {
		return err
	}
	r.fromCall.add(on.first.Sub(start))
	r.fromReturn.add(max(on.first.Sub(<-created), 0))
	r.everywhere.add(on.all.Sub(start))
	start = time.Now()
	if err := b.Delete(ctx, route); err != nil {
		return fmt.Errorf("remove route %s: %w", s.name, err)
	}
	off, err := p.watch(ctx, s, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return err
	}
	r.removed.add(off.all.Sub(start))
	return nil
}
