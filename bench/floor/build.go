package main

import (
	"strconv"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/weft-mesh/weft/bench/world"
)

func build(services int) *floor {
	f := &floor{all: map[string][]byte{}, streams: map[chan []byte]struct{}{}}
	var cs []*cluster.Cluster
	var es []*endpoint.ClusterLoadAssignment
	for i := range services {
		cs, es = append(cs, world.Cluster(i)), append(es, world.Endpoints(i))
	}
	f.keep(response("1", (*cluster.Cluster).GetName, cs...))
	f.keep(response("1", (*endpoint.ClusterLoadAssignment).GetClusterName, es...))
	f.keep(response("1", (*listener.Listener).GetName, world.Listener()))
	f.keep(response("1", (*route.RouteConfiguration).GetName, world.Routes(services, 0)))
	return f
}

func (f *floor) keep(typeURL string, body []byte) { f.all[typeURL] = body }

func (f *floor) serveChanges() {
	world.Handle("/endpoint", func(n int) {
		f.broadcast(response(strconv.Itoa(n), (*endpoint.ClusterLoadAssignment).GetClusterName, world.EndpointsAfter(n)))
	})
	world.Handle("/route", func(n int) {
		f.broadcast(response(strconv.Itoa(n), (*route.RouteConfiguration).GetName, world.Routes(*services, n)))
	})
}
