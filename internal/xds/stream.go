package xds

import (
	"context"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wire is the stream to one Envoy.
type wire interface {
	Send(*response) error
	Recv() (*discovery.DeltaDiscoveryRequest, error)
}

// proxy is one Envoy's stream: what it subscribes to, and how far it has been told.
// One goroutine owns it.
type proxy struct {
	store    *Store
	read     *reader
	fact     *fact
	maxNames int
	demands  *demands // nil: nothing is looked up
	linger   func(cluster string) time.Duration

	subs   [kinds]*subscription
	nonce  uint64
	flight []*response // unanswered ones, oldest first

	held      map[id]change // what changed but cannot be told yet
	lingering int           // how many of these wait for nothing but a time
	due       time.Time     // the first of these times
	gate      uint64        // listeners and what follows wait for responses up to this nonce
	settled   bool          // the gate is past its clusters, and waits for endpoints and secrets
	brought   bringing
	greeting  uint64              // the first clusters of a proxy that came with some
	warm      map[string]struct{} // endpoints that Envoy waits for without asking
	reopened  []string            // RouteConfigurations that it gets anew: their virtual hosts follow
	unrouted  map[string]struct{} // RouteConfigurations that it refused, and so dropped virtual hosts of
	alone     map[id]struct{}     // refused among others: to be sent in a response of its own
	refused   map[id]string       // versions refused alone
	kept      map[string]*item    // filters of policies, as it took them last
	broken    []id                // those to be restored
	listening bool                // has applied its listeners
	whole     uint64              // the last revision of which nothing is held

	changed, gone [kinds][]change // kept from pass to pass for their memory
}

// serve answers one proxy until its stream ends, the context does, or stop says why to end it.
func (p *proxy) serve(ctx context.Context, w wire, stop <-chan error) error {
	asked, failed := requests(ctx, w)
	var next <-chan struct{}
	var alarm <-chan time.Time
	for {
		due := false
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case err := <-stop:
			return err
		case req := <-asked:
			var err error
			if due, err = p.take(req); err != nil {
				return err
			}
		case <-next:
			due = true
		case <-alarm:
			due = true
		}
		if len(p.flight) >= window {
			next = nil // until it answers
			continue
		}
		if due || next == nil {
			var out []*response
			out, next = p.plan()
			alarm = p.alarm()
			for _, r := range out {
				if err := w.Send(r); err != nil {
					return err
				}
			}
		}
		p.acknowledge()
	}
}

// alarm receives when the time of something that waits has come; nil if nothing waits for one.
func (p *proxy) alarm() <-chan time.Time {
	due := p.due
	if until := p.brought.until; p.lingering == 0 || !until.IsZero() && until.Before(due) {
		due = until
	}
	if due.IsZero() {
		return nil
	}
	return time.After(time.Until(due))
}

// waiting reports whether something is held that an answer may set free.
func (p *proxy) waiting() bool {
	return len(p.held) > p.lingering || p.gate != 0 || p.brought.nonce != 0
}

// requests reads the stream in a goroutine that ends with it.
func requests(ctx context.Context, w wire) (<-chan *discovery.DeltaDiscoveryRequest, <-chan error) {
	asked, failed := make(chan *discovery.DeltaDiscoveryRequest), make(chan error, 1)
	go func() {
		for {
			req, err := w.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case asked <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	return asked, failed
}

// take takes in one request and reports whether there may be something to send.
func (p *proxy) take(req *discovery.DeltaDiscoveryRequest) (bool, error) {
	k, ok := kindOf(req.TypeUrl)
	if !ok {
		return false, status.Errorf(codes.InvalidArgument, "type %.200q is not served", req.TypeUrl)
	}
	p.answer(req)
	sub := p.subs[k]
	if sub == nil {
		sub = &subscription{has: req.InitialResourceVersions, all: len(req.ResourceNamesSubscribe) == 0}
		p.subs[k] = sub
	}
	asks := sub.request(req)
	p.demands.note(k, req)
	if n := p.names(); n > p.maxNames {
		return false, status.Errorf(codes.ResourceExhausted, "%d names are subscribed to; the limit is %d", n, p.maxNames)
	}
	return asks || p.waiting() || p.owes(), nil
}

// answer takes in the ACK or NACK that a request may be.
func (p *proxy) answer(req *discovery.DeltaDiscoveryRequest) {
	r := p.answered(req.ResponseNonce)
	switch {
	case r == nil:
	case req.ErrorDetail != nil:
		p.nacked(r, req.ErrorDetail.GetMessage())
	default:
		p.acked(r)
	}
}

func (p *proxy) names() int {
	n := 0
	for _, s := range p.subs {
		if s != nil {
			n += len(s.names) + len(s.has)
		}
	}
	return n
}
