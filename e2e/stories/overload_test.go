package stories

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/envoy"
	weftgateway "github.com/weft-mesh/weft/internal/gateway"
)

// small has so little memory that it takes 1,536 connections.
const small = "template: {spec: {containers: [{name: envoy, resources: {requests: {memory: 64Mi}, limits: {memory: 96Mi}}}]}}"

const mostConnections = 96 << 20 / (64 << 10)

// TestOverload: a proxy of a Gateway takes as many connections as its memory is for. One more is closed before
// anything is answered; those that are there go on, as do the probes of the kubelet, and what was closed is counted.
// When some end, others get in.
func TestOverload(t *testing.T) {
	s := stage.New(t, "overload")
	s.OnThisMachine()
	backend(t, s, "blue", "drain", "", 1)
	s.Apply(strings.Replace(oneProxy, "{replicas: 1}", "{replicas: 1, "+small+"}", 1) + routeTo("blue"))
	s.Rollout("blue")
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api", 200)
	proxy := gateway.Proxies()[0]
	var lines []line
	s.Until(time.Minute, "the proxy has all connections that it takes", func(context.Context) error {
		for len(lines) < mostConnections {
			next, err := dial(t, gateway.At(80))
			if err == nil {
				err = next.ask()
			}
			if err != nil {
				return fmt.Errorf("after %d: %w", len(lines), err) // until those of before have ended
			}
			lines = append(lines, next)
		}
		return nil
	})
	s.Step("%d connections are open, and each was answered", len(lines))
	for range 20 {
		next, err := dial(t, gateway.At(80))
		if err == nil {
			err = next.ask()
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one connection more: %v; want it to be closed", err)
		}
	}
	for i, l := range lines {
		if err := l.ask(); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if n := s.Scrape(proxy).Sum("envoy_listener_downstream_global_cx_overflow", nil); n < 20 {
		t.Errorf("%v are counted as closed, want at least 20", n)
	}
	probe, err := http.Get("http://" + at(proxy.Status.PodIP, weftgateway.ReadyPort) + envoy.ReadyPath)
	must(t, err)
	if probe.Body.Close(); probe.StatusCode != http.StatusOK {
		t.Errorf("a probe is answered %d", probe.StatusCode)
	}
	for _, l := range lines[:100] {
		l.Close()
	}
	gateway.Answers(10*time.Second, "shop.test", "/api", 200)
	now := gateway.Proxies()
	if len(now) != 1 || now[0].UID != proxy.UID || now[0].Status.ContainerStatuses[0].RestartCount > 0 || !cluster.Ready(&now[0]) {
		t.Errorf("the proxy was replaced, restarted, or is not ready: %+v", now)
	}
}

// line is a connection that is kept.
type line struct {
	net.Conn
	from *bufio.Reader
}

func dial(t *testing.T, address string) (line, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return line{}, err
	}
	t.Cleanup(func() { conn.Close() })
	return line{conn, bufio.NewReader(conn)}, nil
}

// ask sends a request and wants it to be answered 200.
func (l line) ask() error {
	if err := l.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(l, "GET /api HTTP/1.1\r\nHost: shop.test\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(l.from, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}
