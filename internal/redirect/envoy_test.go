package redirect_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
)

// TestEnvoyAtOneDualStackListener: the real Envoy, at one port of ::, learns where a connection of
// either version of IP was meant to go, and hands it to the listener of that very address if there
// is one.
func TestEnvoyAtOneDualStackListener(t *testing.T) {
	w := world{pod: newNamespace(t), outside: newNamespace(t)}
	connect(w.pod, w.outside, []string{ip4.pod + ip4.length, ip6.pod + ip6.length},
		[]string{ip4.node + ip4.length, ip4.other + ip4.length, ip6.node + ip6.length, ip6.other + ip6.length})
	for _, f := range []family{ip4, ip6} {
		w.pod.run("ip", "route", "add", "default", "via", f.node)
	}
	w.redirect(t, config)
	w.pod.envoy(t,
		listener("outbound", "::", 15001), listener("inbound", "::", 15006),
		listener("service4", ip4.service, 80), listener("service6", ip6.service, 80))
	for _, f := range []family{ip4, ip6} {
		for _, c := range []struct {
			from        *namespace
			source      string
			to, service string
		}{
			{w.pod, f.pod, net.JoinHostPort(f.service, "80"), "service" + f.name[3:]},
			{w.pod, f.pod, net.JoinHostPort(f.service, "81"), "outbound"},
			{w.outside, f.other, net.JoinHostPort(f.pod, webPort), "inbound"},
		} {
			if got, want := c.from.get(t, c.source, c.to), c.service+" at "+c.to; got != want {
				t.Errorf("%s; want %s", got, want)
			}
		}
	}
}

// listener tells a client its own name and the address at which Envoy believes the client to be.
// Only those of :: are bound.
func listener(name, address string, port int) string {
	bound := address == "::"
	return fmt.Sprintf(`{"name":%q,"address":{"socket_address":{"address":%q,"port_value":%d,"ipv4_compat":%t}},"use_original_dst":%t,"bind_to_port":%t,
	"filter_chains":[{"filters":[{"name":"http","typed_config":{
	"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","stat_prefix":"http",
	"http_filters":[{"name":"router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
	"route_config":{"virtual_hosts":[{"name":"all","domains":["*"],
	"response_headers_to_add":[{"header":{"key":"local","value":"%%DOWNSTREAM_LOCAL_ADDRESS%%"}}],
	"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200,"body":{"inline_string":%q}}}]}]}}}]}]}`,
		name, address, port, bound, bound, bound, name)
}

// envoy serves the listeners in the namespace until the test ends.
func (n *namespace) envoy(t *testing.T, listeners ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(envoytest.Path(t), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning",
		"--config-yaml", fmt.Sprintf(`{"static_resources":{"listeners":[%s]}}`, strings.Join(listeners, ",")))
	cmd.Stdout, cmd.Stderr = &log, &log
	var err error
	n.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(&log)
		}
	})
	until(t, "Envoy listens", func() bool {
		var c net.Conn
		n.do(func() { c, err = net.Dial("tcp", "127.0.0.1:15006") })
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// get says which listener answers, and for which address.
func (n *namespace) get(t *testing.T, source, to string) string {
	t.Helper()
	var c net.Conn
	var err error
	n.do(func() {
		c, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: patience}).Dial("tcp", to)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}}
	resp, err := client.Get("http://" + to)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	name, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s at %s", name, resp.Header.Get("local"))
}
