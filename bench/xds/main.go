// Command xds serves the measured world from Weft's own ADS server: its Store, its
// streams, its limits. Only the review of tokens is replaced: every token is its own pod.
//
// The streams see it as Gateways' proxies do, all in one scope, or with -workloads as sidecars do: in
// so many scopes with a listener of their own each, over those of 50 namespaces, over that of the mesh.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // on the control port
	"path"
	"strconv"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/bench/world"
	"github.com/weft-mesh/weft/internal/xds"
)

var (
	addr     = flag.String("addr", "127.0.0.1:15010", "ADS address")
	ctl      = flag.String("ctl", "127.0.0.1:15099", "control address")
	roots    = flag.String("roots", "", "file to write the server's certificate to")
	services = flag.Int("services", 1000, "services to serve")
	scopes   = flag.Int("workloads", 0, "scopes over the one that sees the services")
)

// scope sees the services; those of namespaces and workloads are over it.
const (
	scope      = "bench"
	namespaces = 50
)

// bases are the scopes that another one is over: their names are paths.
func bases(of string) (out []string) {
	for of = path.Dir(of); of != "."; of = path.Dir(of) {
		out = append(out, of)
	}
	return out
}

func workload(i int) string { return fmt.Sprintf("%s/ns-%d/workload-%d", scope, i%namespaces, i) }

// scopeOf is that of a stream, by the number at the end of its token.
func scopeOf(who xds.Identity) (string, bool) {
	if *scopes == 0 {
		return scope, true
	}
	i, err := strconv.Atoi(who.Pod[strings.LastIndexByte(who.Pod, '-')+1:])
	return workload(i % *scopes), err == nil
}

type anyone struct{}

func (anyone) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	return xds.Identity{Namespace: "bench", ServiceAccount: "bench", Pod: token, PodUID: token, Expires: time.Now().Add(24 * time.Hour)}, nil
}

// served is one resource that everyone sees.
func served(c *xds.Change, typeURL, name string, m proto.Message) {
	n, ordinary := xds.Name{Type: typeURL, Name: name}, xds.Variant("")
	c.Resources[xds.Resource{Name: n}] = xds.Marshal(name, m)
	c.Scopes[scope][n] = &ordinary
}

func change() xds.Change {
	return xds.Change{Resources: map[xds.Resource]*discovery.Resource{}, Scopes: map[string]map[xds.Name]*xds.Variant{scope: {}}}
}

func everything() xds.Change {
	c := change()
	for i := range *services {
		served(&c, xds.ClusterType, world.Name(i), world.Cluster(i))
		served(&c, xds.EndpointType, world.Name(i), world.Endpoints(i))
	}
	served(&c, xds.ListenerType, world.Listener().Name, world.Listener())
	served(&c, xds.RouteType, world.RouteName, world.Routes(*services, 0))
	for i := range *scopes {
		own := world.Listener()
		own.Name = "inbound"
		n, variant := xds.Name{Type: xds.ListenerType, Name: own.Name}, xds.Variant(workload(i))
		c.Resources[xds.Resource{Name: n, Variant: variant}] = xds.Marshal(own.Name, own)
		c.Scopes[workload(i)] = map[xds.Name]*xds.Variant{n: &variant}
	}
	return c
}

func main() {
	flag.Parse()
	store := xds.NewStore(bases)
	store.Commit(everything())
	cert, err := world.Certificate(*roots)
	if err != nil {
		log.Fatal(err)
	}
	s := xds.NewServer(xds.Options{
		Store: store, Facts: xds.NewFacts(), Authenticator: anyone{},
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
		ScopeOf:     scopeOf,
	})
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(s.Serve(l)) }()
	serveChanges(store)
	log.Fatal(http.ListenAndServe(*ctl, nil))
}

func serveChanges(store *xds.Store) {
	world.Handle("/endpoint", func(n int) {
		c := change()
		served(&c, xds.EndpointType, world.Name(world.Changed), world.EndpointsAfter(n))
		store.Commit(c)
	})
	world.Handle("/route", func(n int) {
		c := change()
		served(&c, xds.RouteType, world.RouteName, world.Routes(*services, n))
		store.Commit(c)
	})
}
