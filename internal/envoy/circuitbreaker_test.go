package envoy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func breaker(s v1alpha1.CircuitBreaker) []room.Decided {
	return []room.Decided{{Section: "circuitBreaker", Policy: "shop/breaker", Says: &s}}
}

// scraped says whether a series of the proxy's metrics has all of some labels, and counts something.
func (g *gateway) scraped(name string, labels ...string) bool {
	for line := range strings.Lines(strings.TrimPrefix(body(g.stats+envoy.StatsPath), "200 ")) {
		found := strings.HasPrefix(line, name+"{") && !strings.HasSuffix(line, " 0\n")
		for i := 0; i < len(labels); i += 2 {
			found = found && strings.Contains(line, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
		}
		if found {
			return true
		}
	}
	return false
}

// TestCircuitBreaker: what exceeds the bound is answered 503 at once, with the flag UO in the log and in the
// metric, and the backend hears nothing of it; what is under way goes on, and after it all is as before.
func TestCircuitBreaker(t *testing.T) {
	t.Parallel()
	arrived, held := make(chan bool, 10), make(chan bool)
	g := world{policies: breaker(v1alpha1.CircuitBreaker{MaxRequests: new(int32(1))}), endpoints: map[string][]mesh.Endpoint{
		"cart": serve(t, func(http.ResponseWriter, *http.Request) {
			arrived <- true
			<-held
		}),
	}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
	first := make(chan int, 1)
	go func() { first <- status(g.url) }()
	<-arrived
	response, _ := g.send(t, "GET", "/over")
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the second is answered %d", response.StatusCode)
	}
	close(held)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first is answered %d", got)
	}
	if got := status(g.url); got != http.StatusOK || len(arrived) != 1 {
		t.Errorf("after that: %d, and %d more arrived", got, len(arrived))
	}
	eventually(t, "the log tells of it", func() bool {
		return tells(g.log.String(), map[string]any{"path": "/over", "flags": "UO"})
	})
	eventually(t, "the metric counts it", func() bool {
		return g.scraped("envoy_weft_requests_total", "response_flags", "UO", "response_code", "503", "upstream_cluster", "cart")
	})
}

// TestCircuitBreakerOfBytes: a connection that exceeds the bound is closed, and counted by the same flag.
func TestCircuitBreakerOfBytes(t *testing.T) {
	t.Parallel()
	p := startPassing(t, map[string]mesh.Endpoint{"cart": namer(t, "cart")})
	bounded := envoy.Cluster(mesh.Cluster{Name: "cart", Protocol: mesh.TCP, Policies: breaker(v1alpha1.CircuitBreaker{MaxConnections: new(int32(1))})})
	commit(p.store, map[string]proto.Message{"cart": bounded})
	p.split(0, mesh.Backend{Cluster: "cart", Weight: 1})
	var kept net.Conn
	eventually(t, "a connection is passed", func() bool {
		c, _, name := greeted(t, p.tcp)
		kept = c
		return name == "cart"
	})
	eventually(t, "another is closed", func() bool {
		c, _, name := greeted(t, p.tcp)
		defer c.Close()
		return name == ""
	})
	kept.Close()
	_, _ = io.Copy(io.Discard, kept) // it is closed
	eventually(t, "there is room again", func() bool {
		c, _, name := greeted(t, p.tcp)
		defer c.Close()
		return name == "cart"
	})
	eventually(t, "the metric counts it", func() bool {
		return p.scraped("envoy_weft_tcp_connections_closed_total", "response_flags", "UO")
	})
}
