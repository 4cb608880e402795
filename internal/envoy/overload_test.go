package envoy_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	injectedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/injected_resource/v3"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
)

// phone is a client's connection that is kept.
type phone struct {
	net.Conn
	from *bufio.Reader
}

func (g *gateway) dial(t *testing.T) phone {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return phone{c, bufio.NewReader(c)}
}

// ask sends a request and waits for its answer; an error: there is none within the time.
func (p phone) ask(path string, within time.Duration) (*http.Response, error) {
	if _, err := fmt.Fprintf(p, "GET %s HTTP/1.1\r\nHost: shop.test\r\n\r\n", path); err != nil {
		return nil, err
	}
	return p.answer(within)
}

func (p phone) answer(within time.Duration) (*http.Response, error) {
	if err := p.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(p.from, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body := &strings.Builder{}
	_, err = bufio.NewReader(response.Body).WriteTo(body)
	response.Status = body.String()
	return response, err
}

const longest = 20 * time.Second

var refusals = regexp.MustCompile(`envoy_listener_downstream_global_cx_overflow\{.*\} [1-9]`)

// TestConnectionsAreBounded: of one client's connection too many nothing is read, those that are there go on, and
// the kubelet and Prometheus get in all the same. When one ends, there is room for another.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 3
	g := world{endpoints: echoes(t, "a"), hosts: host(t, `[{backendRefs: [{name: a}]}]`), overload: func(m *overloadv3.OverloadManager) {
		config := &connectionsv3.DownstreamConnectionsConfig{}
		inside(t, m.ResourceMonitors[0].GetTypedConfig(), config, func() { config.MaxActiveDownstreamConnections = most })
	}}.start(t)
	var all []phone
	for range most {
		all = append(all, g.dial(t))
		all[len(all)-1].wants(t, 200, "")
	}
	for range 3 {
		if response, err := g.dial(t).ask("/", longest); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one connection more: %v, %v", response, err)
		}
	}
	for _, p := range all {
		p.wants(t, 200, "")
	}
	if code := status(g.ready + envoy.ReadyPath); code != 200 {
		t.Errorf("the kubelet is told %d", code)
	}
	eventually(t, "what is refused is counted", func() bool {
		return refusals.Match(fetch(t, g.stats+envoy.StatsPath, "identity"))
	})
	all[0].Close()
	eventually(t, "there is room for another", func() bool {
		response, err := g.dial(t).ask("/", longest)
		return err == nil && response.StatusCode == 200
	})
}

// pressed is a Gateway whose heap is as full as the test says, to an app that answers when it is let.
type pressed struct {
	*gateway
	file       string
	began, let chan bool
}

func startPressed(t *testing.T) pressed {
	t.Helper()
	p := pressed{file: filepath.Join(t.TempDir(), "pressure"), began: make(chan bool), let: make(chan bool)}
	p.press(t, 0.5)
	app := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			p.began <- true
			select {
			case <-p.let:
			case <-r.Context().Done():
			}
		}
	})
	p.gateway = world{endpoints: map[string][]mesh.Endpoint{"a": app}, hosts: host(t, `[{backendRefs: [{name: a}]}]`), overload: func(m *overloadv3.OverloadManager) {
		for _, monitor := range m.ResourceMonitors {
			if strings.HasSuffix(monitor.Name, ".fixed_heap") {
				if err := monitor.GetTypedConfig().MarshalFrom(&injectedv3.InjectedResourceConfig{Filename: p.file}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}}.start(t)
	return p
}

// press says how full the heap is, and waits until the proxy has heard of it.
func (p pressed) press(t *testing.T, share float64) {
	t.Helper()
	next := p.file + ".next"
	if err := os.WriteFile(next, fmt.Append(nil, share), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, p.file); err != nil {
		t.Fatal(err)
	}
	if p.gateway == nil {
		return
	}
	of := fmt.Sprintf("fixed_heap.pressure: %.0f\n", 100*share)
	eventually(t, "the proxy knows that "+of, func() bool { return strings.Contains(string(fetch(t, p.admin+"/stats", "identity")), of) })
}

// hold has a request wait for its answer until the test lets it; how it ended comes then.
func (p pressed) hold(t *testing.T) <-chan error {
	t.Helper()
	held, ended := p.dial(t), make(chan error, 1)
	go func() {
		response, err := held.ask("/held", longest)
		if err == nil && response.StatusCode != 200 {
			err = fmt.Errorf("answered %d", response.StatusCode)
		}
		ended <- err
	}()
	<-p.began
	return ended
}

// wants has a request over a connection answered with a status and, if it is not empty, a body.
func (p phone) wants(t *testing.T, status int, body string) {
	t.Helper()
	response, err := p.ask("/", longest)
	if err != nil || response.StatusCode != status || body != "" && response.Status != body {
		t.Errorf("%v, %v; want %d %s", response, err, status, body)
	}
}

// TestOverload: as its memory runs short, a proxy has connections end with their answers, then refuses requests,
// then leaves connections waiting. What is under way goes on, and the kubelet does not end the proxy.
func TestOverload(t *testing.T) {
	t.Parallel()
	p := startPressed(t)
	underWay, old := p.hold(t), p.dial(t)
	old.wants(t, 200, "")
	old.wants(t, 200, "") // by the same connection
	p.press(t, 0.91)
	eventually(t, "connections end with their answers", func() bool {
		response, err := p.dial(t).ask("/", longest)
		return err == nil && response.StatusCode == 200 && response.Close
	})
	p.press(t, 0.96)
	eventually(t, "requests are refused", func() bool {
		response, err := p.dial(t).ask("/", longest)
		return err == nil && response.StatusCode == 503
	})
	old.wants(t, 503, "envoy overloaded")
	eventually(t, "the log tells why", func() bool { return tells(p.log.String(), map[string]any{"details": "overload"}) })

	p.press(t, 0.99)
	var late phone
	eventually(t, "connections wait", func() bool {
		late = p.dial(t)
		_, err := late.ask("/", time.Second)
		return errors.Is(err, os.ErrDeadlineExceeded)
	})
	if code := status(p.ready + envoy.ReadyPath); code != 200 {
		t.Errorf("the kubelet is told %d", code)
	}
	close(p.let)
	if err := <-underWay; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	p.press(t, 0.5)
	if response, err := late.answer(longest); err != nil || response.StatusCode != 200 {
		t.Errorf("who waited: %v, %v", response, err)
	}
}
