package redirect_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirect"
)

// roleVariable has a copy of this program do one thing instead of testing.
const roleVariable = "WEFT_TEST_ROLE"

func TestMain(m *testing.M) {
	role := strings.Fields(os.Getenv(roleVariable))
	switch {
	case len(role) == 0:
		os.Exit(m.Run())
	case role[0] == "dial":
		fmt.Print(dialAll(role[1:]))
	case role[0] == "redirect":
		fmt.Print(redirect.Apply(config))
	}
}

// dialAll dials pairs of source and destination at once, and has a line for each.
func dialAll(pairs []string) string {
	said := make([]string, len(pairs)/2)
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() { said[i] = dial(pairs[2*i], pairs[2*i+1]) })
	}
	all.Wait()
	return strings.Join(said, "\n")
}

// dial says what a server says, or why there is none. Source "-" is any.
func dial(source, to string) string {
	d := net.Dialer{Timeout: 2 * time.Second}
	if source != "-" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	c, err := d.Dial("tcp", to)
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "dropped"
	case err != nil:
		return err.Error()
	}
	defer c.Close()
	said, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(said)
}

// ports of the app in the pod, and one of a server elsewhere.
const (
	webPort      = "8080"
	probedPort   = "9000"
	greetingPort = "9001"
	directPort   = "9100"
	databasePort = "3306"
)

var config = redirect.Config{
	NodeIPs:         []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")},
	TCPProbePorts:   []uint16{9000, 9001, 9100},
	ExcludeInbound:  []uint16{9100},
	ExcludeOutbound: []uint16{3306, 5432},
	ExcludeNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8:1::/48")},
}

// family is the addresses of one IP version.
type family struct {
	name                                                        string
	pod, node, other, service, excluded, beside, localhost, own string
	length                                                      string
}

var (
	ip4 = family{"IPv4", "10.77.0.2", "10.77.0.1", "10.77.0.3", "10.96.0.10", "192.0.2.200", "192.0.3.1", "127.0.0.1", "127.0.0.6", "/24"}
	ip6 = family{"IPv6", "fd77::2", "fd77::1", "fd77::3", "fd96::10", "2001:db8:1::9", "2001:db8:2::9", "::1", "::6", "/64"}
)

// world is a pod, and a namespace in which its node, another pod and the servers are.
type world struct {
	pod, outside *namespace
	apps         map[string]net.Listener
}

func newWorld(t *testing.T, families ...family) world {
	t.Helper()
	w := world{newNamespace(t), newNamespace(t), map[string]net.Listener{}}
	var inside, outside, elsewhere []string
	for _, f := range families {
		inside = append(inside, f.pod+f.length)
		outside = append(outside, f.node+f.length, f.other+f.length)
		elsewhere = append(elsewhere, f.service, f.excluded, f.beside)
	}
	connect(w.pod, w.outside, inside, outside)
	for _, f := range families {
		w.pod.run("ip", "route", "add", "default", "via", f.node)
	}
	for _, a := range elsewhere {
		w.outside.address(a+map[bool]string{true: "/128", false: "/32"}[strings.Contains(a, ":")], "lo")
	}
	for _, port := range []string{"80", databasePort} {
		w.outside.serve("server", ":"+port)
	}
	for _, port := range []string{"15000", "15001", "15006", "15007", "15021", "15090"} {
		w.pod.serve("proxy:"+port, ":"+port)
	}
	for _, port := range []string{webPort, probedPort, directPort} {
		w.apps[port] = w.pod.serve("app:"+port, ":"+port)
	}
	return w
}

func (w world) redirect(t *testing.T, c redirect.Config) {
	t.Helper()
	var err error
	w.pod.do(func() { err = redirect.Apply(c) })
	if err != nil {
		t.Fatal(err)
	}
}

const (
	root  = 0
	user  = 2000
	proxy = 1337
)

func TestConnections(t *testing.T) {
	w := newWorld(t, ip4, ip6)
	w.redirect(t, config)
	for _, f := range []family{ip4, ip6} {
		t.Run(f.name, func(t *testing.T) { w.connections(t, f) })
	}
}

func (w world) connections(t *testing.T, f family) {
	for _, c := range []struct {
		what                  string
		from                  *namespace
		uid, gid              int
		source, to, port, who string
	}{
		{"the app calls out", w.pod, user, user, "-", f.service, "80", "proxy:15001"},
		{"root calls out", w.pod, root, root, "-", f.service, "80", "proxy:15001"},
		{"a port that nobody has", w.pod, user, user, "-", f.service, "81", "proxy:15001"},
		{"beside an excluded network", w.pod, user, user, "-", f.beside, "80", "proxy:15001"},
		{"an excluded network", w.pod, user, user, "-", f.excluded, "80", "server"},
		{"an excluded remote port", w.pod, user, user, "-", f.service, databasePort, "server"},
		{"the proxy's user calls out", w.pod, proxy, user, "-", f.service, "80", "server"},
		{"the proxy's group calls out", w.pod, user, proxy, "-", f.service, "80", "server"},
		{"the app calls itself by loopback", w.pod, user, user, "-", f.localhost, webPort, "app:8080"},
		{"the app calls its own pod's IP", w.pod, user, user, "-", f.pod, webPort, "app:8080"},
		{"the proxy calls its own pod", w.pod, proxy, proxy, "-", f.pod, webPort, "proxy:15006"},
		{"the proxy's group calls its own pod", w.pod, user, proxy, "-", f.pod, webPort, "proxy:15006"},
		{"the proxy calls an excluded port of its own pod", w.pod, proxy, proxy, "-", f.pod, directPort, "app:9100"},
		{"the proxy passes on what it let in", w.pod, proxy, proxy, f.own, f.pod, webPort, "app:8080"},
		{"the proxy passes it on by loopback", w.pod, proxy, proxy, f.own, f.localhost, webPort, "app:8080"},
		{"the proxy calls its own administration", w.pod, proxy, proxy, "-", f.localhost, "15000", "proxy:15000"},

		{"another pod calls", w.outside, root, root, f.other, f.pod, webPort, "proxy:15006"},
		{"another pod calls a port that nobody has", w.outside, root, root, f.other, f.pod, "7", "proxy:15006"},
		{"another pod calls a probed port", w.outside, root, root, f.other, f.pod, probedPort, "proxy:15006"},
		{"the node calls", w.outside, root, root, f.node, f.pod, webPort, "proxy:15007"},
		{"another pod calls an excluded port", w.outside, root, root, f.other, f.pod, directPort, "app:9100"},
		{"the node calls an excluded port", w.outside, root, root, f.node, f.pod, directPort, "app:9100"},
		{"readiness of the proxy", w.outside, root, root, f.node, f.pod, "15021", "proxy:15021"},
		{"statistics of the proxy", w.outside, root, root, f.other, f.pod, "15090", "proxy:15090"},
	} {
		t.Run(c.what, func(t *testing.T) {
			to := net.JoinHostPort(c.to, c.port)
			from := c.source
			if from == "-" {
				from = f.pod
				if c.to == f.localhost {
					from = f.localhost
				}
			}
			want := fmt.Sprintf("%s for %s from %s", c.who, to, from)
			if got := c.from.child(c.uid, c.gid, nil, "dial", c.source, to); got != want {
				t.Errorf("%s; want %s", got, want)
			}
		})
	}
}

// TestTheProxysOwnPortsAreNoWayIn: nobody outside reaches them.
func TestTheProxysOwnPortsAreNoWayIn(t *testing.T) {
	w := newWorld(t, ip4, ip6)
	w.redirect(t, config)
	var pairs []string
	for _, f := range []family{ip4, ip6} {
		for _, source := range []string{f.node, f.other} {
			for _, port := range []string{"15000", "15001", "15006", "15007"} {
				pairs = append(pairs, source, net.JoinHostPort(f.pod, port))
			}
		}
	}
	for i, got := range strings.Split(w.outside.child(root, root, nil, append([]string{"dial"}, pairs...)...), "\n") {
		if got != "dropped" {
			t.Errorf("from %s to %s: %s", pairs[2*i], pairs[2*i+1], got)
		}
	}
}

// TestTCPProbe: the kubelet learns whether the app listens, and neither says a word to the other.
func TestTCPProbe(t *testing.T) {
	for _, f := range []family{ip4, ip6} {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			w.redirect(t, config)
			t.Run("payload", func(t *testing.T) { w.payload(t, f) })
			t.Run("greeting", func(t *testing.T) { w.greeting(t, f) })
			w.apps[probedPort].Close()
			if got := w.outside.child(root, root, nil, "dial", f.node, net.JoinHostPort(f.pod, probedPort)); got != "refused" {
				t.Errorf("a dead app: %s", got)
			}
		})
	}
}

// payload sends until TCP has tried again twice, and looks at what the app's socket got.
func (w world) payload(t *testing.T, f family) {
	accepted := make(chan *net.TCPConn, 1)
	w.apps[probedPort].Close()
	w.apps[probedPort] = w.pod.listen(":"+probedPort, func(c net.Conn) { accepted <- c.(*net.TCPConn) })
	probe := w.probe(t, f, probedPort)
	app := <-accepted
	defer app.Close()
	if local := app.LocalAddr().(*net.TCPAddr).AddrPort(); local.Port() != 9000 {
		t.Errorf("the probe reached %s", local)
	}
	if _, err := io.WriteString(probe, "secret"); err != nil {
		t.Fatal(err)
	}
	until(t, "TCP tries again", func() bool { return info(t, probe).Total_retrans >= 2 })
	if got := info(t, app).Bytes_received; got != 0 {
		t.Errorf("%d bytes of payload arrived", got)
	}
}

// greeting is what an app says before it is spoken to.
func (w world) greeting(t *testing.T, f family) {
	told := make(chan error, 1)
	w.pod.listen(":"+greetingPort, func(c net.Conn) {
		defer c.Close()
		err := c.SetDeadline(time.Now().Add(patience))
		if err == nil {
			_, err = io.WriteString(c, "hello")
		}
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		told <- err
	})
	probe := w.probe(t, f, greetingPort)
	if err := <-told; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the app was told %v", err)
	}
	if got := info(t, probe).Bytes_received; got != 0 {
		t.Errorf("%d bytes of the greeting arrived", got)
	}
}

// patience is how long a condition may take to hold.
const patience = 20 * time.Second

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

func (w world) probe(t *testing.T, f family, port string) *net.TCPConn {
	t.Helper()
	var c net.Conn
	var err error
	w.outside.do(func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(f.node)}}
		c, err = d.Dial("tcp", net.JoinHostPort(f.pod, port))
	})
	if err != nil {
		t.Fatalf("connect to the app: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func info(t *testing.T, c *net.TCPConn) *unix.TCPInfo {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var i *unix.TCPInfo
	if controlErr := raw.Control(func(fd uintptr) { i, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	return i
}
