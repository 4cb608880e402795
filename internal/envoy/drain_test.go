package envoy_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoy"
)

// A drain takes its time, in which requests under way end well, new ones are served, and the kubelet
// learns that the proxy is to get no more.
func TestDrain(t *testing.T) {
	t.Parallel()
	arrived, released := make(chan bool, 1), make(chan bool)
	release := sync.OnceFunc(func() { close(released) })
	endpoints := echoes(t, "a")
	endpoints["slow"] = serve(t, func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-released
	})
	t.Cleanup(release) // before its server waits for it
	const drain = 2 * time.Second
	g := world{drain: drain, endpoints: endpoints, hosts: host(t, `
- backendRefs: [{name: a}]
- matches: [{path: {value: /slow}}]
  backendRefs: [{name: slow}]
`)}.start(t)
	slow := make(chan int, 1)
	go func() { slow <- status(g.url + "/slow") }()
	<-arrived

	for _, header := range []string{"", "a guess"} {
		if got, _ := drainStatus(t, g, header); got != 404 {
			t.Fatalf("draining with header %q: %d, want 404", header, got)
		}
	}
	if got := status(g.ready + envoy.ReadyPath); got != 200 {
		t.Fatalf("ready before draining: %d", got)
	}
	start, drained := time.Now(), make(chan int, 1)
	go func() {
		got, _ := drainStatus(t, g, drainKey)
		drained <- got
	}()
	eventually(t, "the proxy is not ready while it drains", func() bool { return status(g.ready+envoy.ReadyPath) == 503 })
	response, got := g.send(t, "GET", "/")
	if got.Backend != "a" || !response.Close {
		t.Errorf("while draining: %d, closing %v, want 200 on a connection that ends", response.StatusCode, response.Close)
	}
	release()
	if got := <-slow; got != 200 {
		t.Errorf("the request under way got %d", got)
	}
	if got := <-drained; got != 200 || time.Since(start) < drain-100*time.Millisecond { // Envoy rounds
		t.Errorf("the drain answered %d after %s, want 200 after %s", got, time.Since(start), drain)
	}
	if err := g.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.exited:
	case <-time.After(10 * time.Second):
		t.Error("the proxy does not end")
	}
}

func drainStatus(t *testing.T, g *gateway, key string) (int, error) {
	request, err := http.NewRequest("GET", g.ready+envoy.DrainPath, nil)
	if err != nil {
		t.Error(err)
		return 0, err
	}
	if key != "" {
		request.Header.Set(sample.DrainHeader, key)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// Of the admin interface nothing else can be reached from outside, and nothing at all by POST.
func TestOwnPorts(t *testing.T) {
	g := world{endpoints: echoes(t, "a"), hosts: host(t, `[{backendRefs: [{name: a}]}]`)}.start(t)
	g.send(t, "GET", "/")
	for url, want := range map[string]int{
		g.ready + "/": 404, g.ready + "/stats": 404, g.ready + "/config_dump": 404, g.ready + envoy.StatsPath: 404,
		g.ready + "/ready/": 404, g.ready + "/readyz": 404, g.ready + envoy.DrainPath: 404,
		g.stats + "/": 404, g.stats + "/config_dump": 404, g.stats + envoy.ReadyPath: 404, g.stats + "/quitquitquit": 404,
	} {
		if got := status(url); got != want {
			t.Errorf("%s: %d, want %d", url, got, want)
		}
	}
	if response, err := client.Post(g.ready+envoy.ReadyPath, "", nil); err != nil || response.StatusCode != 404 {
		t.Errorf("POST: %v, %v, want 404", response, err)
	}
	response, err := client.Get(g.stats + envoy.StatsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"} 1`,
		`envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="port_`,
		"envoy_server_live{} 1", "envoy_cluster_membership_healthy",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if lines := strings.Count(string(body), "\n"); lines > 400 {
		t.Errorf("%d lines of statistics", lines)
	}
}

func TestTLS(t *testing.T) {
	secret := keyPair(t, "shop.test")
	hosts := host(t, `
- backendRefs: [{name: a}]
- matches: [{path: {value: /moved}}]
  filters: [{type: RequestRedirect, requestRedirect: {hostname: other.test}}]
`)
	hosts[0].TLS, hosts[0].Port = true, 443
	g := world{secret: &secret, endpoints: echoes(t, "a"), hosts: hosts}.start(t)
	offered := func(version uint16, protocols ...string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test", MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: protocols}
	}
	for _, c := range []struct {
		config *tls.Config
		want   string // protocol agreed upon
	}{
		{offered(tls.VersionTLS13, "h2", "http/1.1"), "h2"}, {offered(tls.VersionTLS12, "http/1.1"), "http/1.1"},
		{offered(tls.VersionTLS12), ""},
	} {
		connection, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), c.config)
		if err != nil {
			t.Errorf("%v: %v", c.config.NextProtos, err)
			continue
		}
		if got := connection.ConnectionState().NegotiatedProtocol; got != c.want {
			t.Errorf("%v: agreed on %q, want %q", c.config.NextProtos, got, c.want)
		}
		connection.Close()
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), offered(tls.VersionTLS11)); err == nil {
		t.Error("TLS 1.1 is served")
	}
	over := &http.Client{CheckRedirect: client.CheckRedirect, Transport: &http.Transport{
		TLSClientConfig: offered(tls.VersionTLS13), ForceAttemptHTTP2: true,
	}}
	response, err := over.Get(g.url + "/moved")
	if err != nil || response.ProtoMajor != 2 || response.Header.Get("Location") != "https://other.test/moved" {
		t.Errorf("%v, %v", response, err)
	}
}
