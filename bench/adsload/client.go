package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// client is one stream.
type client struct {
	index  int
	node   *core.Node
	stream grpc.ClientStream
	plain  []string // types subscribed to by wildcard
	watch  map[string]*watch
	seen   int64 // the last change that arrived
	ready  func()
}

// watch is one type's subscription.
type watch struct {
	follows bool                // it asks by name
	names   map[string]struct{} // so far
	asked   bool
	got     bool
}

func newClient(i int, ready func()) *client {
	c := &client{index: i, node: node(i), watch: map[string]*watch{}, ready: sync.OnceFunc(ready)}
	for t := range strings.SplitSeq(*types, ",") {
		follows := t == "eds" || t == "rds"
		c.watch[long(t)] = &watch{follows: follows, names: map[string]struct{}{}}
		if !follows {
			c.plain = append(c.plain, long(t))
		}
	}
	return c
}

func (c *client) restart() {
	for _, w := range c.watch {
		w.names, w.asked, w.got = map[string]struct{}{}, false, false
	}
}

func (c *client) run(ctx context.Context, cc *grpc.ClientConn) error {
	const method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	st, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	c.stream = st
	for i, t := range c.plain {
		req := &discovery.DeltaDiscoveryRequest{TypeUrl: t}
		if i == 0 {
			req.Node = c.node
		}
		if err := st.SendMsg(req); err != nil {
			return err
		}
	}
	for {
		var m rawMsg
		if err := st.RecvMsg(&m); err != nil {
			return err
		}
		err := c.handle(m.b, time.Now().UnixNano())
		m.free()
		if err != nil {
			return err
		}
	}
}

func (c *client) handle(b []byte, now int64) error {
	r, err := parseResponse(b)
	if err != nil {
		return err
	}
	counted.add(now, len(b), len(r.resources), len(r.removed))
	if m := awaited.Load(); m != nil && c.seen < m.seq && (m.typ == "" || m.typ == r.typ) && bytes.Contains(b, m.text) {
		c.seen = m.seq
		m.arrived(now)
	}
	w := c.watch[r.typ]
	if w == nil {
		return nil
	}
	w.got = true
	if err := c.stream.SendMsg(&discovery.DeltaDiscoveryRequest{TypeUrl: r.typ, ResponseNonce: r.nonce}); err != nil {
		return err
	}
	if err := c.follow(r); err != nil {
		return err
	}
	if c.complete() {
		c.ready() // once
	}
	return nil
}

// follow subscribes to what a response names, as Envoy does.
func (c *client) follow(r response) error {
	var add []string
	switch r.typ {
	case shortTypes["cds"]:
		for _, body := range r.resources {
			if n := edsName(body); n != "" {
				add = append(add, n)
			}
		}
		return c.resubscribe(shortTypes["eds"], add, r.removed) // a service is named as its cluster is
	case shortTypes["lds"]:
		for _, body := range r.resources {
			add = append(add, rdsNames(body)...)
		}
		return c.resubscribe(shortTypes["rds"], add, nil)
	}
	return nil
}

func (c *client) resubscribe(typ string, add, del []string) error {
	w := c.watch[typ]
	if w == nil || !w.follows {
		return nil
	}
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: typ}
	for _, n := range add {
		if _, ok := w.names[n]; !ok {
			w.names[n] = struct{}{}
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, n)
		}
	}
	for _, n := range del {
		if _, ok := w.names[n]; ok {
			delete(w.names, n)
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, n)
		}
	}
	if len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) == 0 {
		return nil
	}
	w.asked = true
	return c.stream.SendMsg(req)
}

// complete reports whether every subscription had an answer.
func (c *client) complete() bool {
	return !slices.ContainsFunc(c.plain, func(t string) bool { return !c.watch[t].got }) && !c.waiting()
}

func (c *client) waiting() bool {
	for _, w := range c.watch {
		if w.asked && !w.got {
			return true
		}
	}
	return false
}
