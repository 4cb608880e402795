package redirect_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirect"
)

// TestTable: the kernel holds what the description says, read by nft itself, and holds the same after
// a second run and after one with other rules in between.
func TestTable(t *testing.T) {
	pod, described := newNamespace(t), newNamespace(t)
	apply := func(c redirect.Config) string {
		t.Helper()
		var err error
		pod.do(func() { err = redirect.Apply(c) })
		if err != nil {
			t.Fatal(err)
		}
		return pod.run("nft", "list", "table", "inet", "weft")
	}
	nobody := redirect.Config{NodeIPs: config.NodeIPs}
	for _, c := range []redirect.Config{config, nobody, config, config, crowded()} {
		text := "table inet weft {\n}\ndelete table inet weft\ntable inet weft {\n"
		for _, chain := range redirect.Chains(c) {
			text += chain.String()
		}
		described.feed(text+"}\n", "nft", "-f", "-")
		got, want := apply(c), described.run("nft", "list", "table", "inet", "weft")
		if got != want || !strings.Contains(got, "redirect to :15006") {
			t.Errorf("the kernel has\n%s\nand should have\n%s", got, want)
		}
	}
	if got := pod.run("ip", "-6", "-o", "addr", "show", "dev", "lo"); strings.Count(got, "::6/128") != 1 {
		t.Errorf("on the loopback interface: %s", got)
	}
}

// crowded has as much as annotations may ask for.
func crowded() redirect.Config {
	c := config
	c.TCPProbePorts, c.ExcludeInbound, c.ExcludeOutbound, c.ExcludeNetworks = nil, nil, nil, nil
	for i := range uint16(1000) {
		c.TCPProbePorts = append(c.TCPProbePorts, 20000+i)
		c.ExcludeInbound = append(c.ExcludeInbound, 30000+i)
		c.ExcludeOutbound = append(c.ExcludeOutbound, 40000+i)
		c.ExcludeNetworks = append(c.ExcludeNetworks, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24))
	}
	return c
}

// TestOneVersionOfIP: a pod that has only one of them, or for which the kernel has none of the other.
func TestOneVersionOfIP(t *testing.T) {
	for _, c := range []struct {
		name, disabled string
		has            family
	}{{"IPv4 only", "0", ip4}, {"IPv6 only", "0", ip6}, {"IPv6 disabled", "1", ip4}} {
		t.Run(c.name, func(t *testing.T) {
			w := world{pod: newNamespace(t), outside: newNamespace(t)}
			w.pod.set("net/ipv6/conf/all/disable_ipv6", c.disabled)
			connect(w.pod, w.outside, []string{c.has.pod + c.has.length}, []string{c.has.node + c.has.length})
			w.pod.run("ip", "route", "add", "default", "via", c.has.node)
			w.redirect(t, config)
			w.pod.serve("out", ":15001")
			w.pod.serve("in", ":15007")
			for _, d := range []struct {
				from    *namespace
				to, who string
			}{{w.pod, net.JoinHostPort(c.has.service, "80"), "out"}, {w.outside, net.JoinHostPort(c.has.pod, "80"), "in"}} {
				if got := d.from.child(user, user, nil, "dial", "-", d.to); !strings.HasPrefix(got, d.who+" for "+d.to) {
					t.Errorf("%s: %s; want %s", d.to, got, d.who)
				}
			}
		})
	}
}

func (n *namespace) set(sysctl, value string) {
	n.t.Helper()
	var err error
	n.do(func() { err = os.WriteFile("/proc/sys/"+sysctl, []byte(value), 0) })
	if err != nil {
		n.t.Fatal(err)
	}
}

// TestCapability: as in a container, where only NET_ADMIN is in the bounding set, user 0 has it and
// another user does not, unless the runtime makes it ambient.
func TestCapability(t *testing.T) {
	netAdmin := []uintptr{unix.CAP_NET_ADMIN}
	for _, c := range []struct {
		name      string
		uid       int
		ambient   []uintptr
		forbidden uintptr // taken from the bounding set, too
		says      string
	}{
		{"user 0", 0, nil, 0, "<nil>"},
		{"user 65532", 65532, nil, 0, "write the nftables table inet weft: the capability NET_ADMIN is missing: run as user 0"},
		{"user 65532 with an ambient capability", 65532, netAdmin, 0, "<nil>"},
		{"user 0 without it", 0, nil, unix.CAP_NET_ADMIN, "write the nftables table inet weft: the capability NET_ADMIN is missing: run as user 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := newNamespace(t)
			var err error
			pod.do(func() {
				for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
					if capability != unix.CAP_NET_ADMIN || c.forbidden == capability {
						err = errors.Join(err, unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0))
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := pod.child(c.uid, c.uid, c.ambient, "redirect"); !strings.HasPrefix(got, c.says) {
				t.Errorf("%s; want %s", got, c.says)
			}
		})
	}
}

// TestOnlyTCP: datagrams and pings go where they are sent, also to the ports of the proxy.
func TestOnlyTCP(t *testing.T) {
	w := newWorld(t, ip4, ip6)
	w.redirect(t, config)
	for _, f := range []family{ip4, ip6} {
		for _, port := range []string{"53", "15006"} {
			service, pod := net.JoinHostPort(f.service, port), net.JoinHostPort(f.pod, port)
			w.outside.echo(service)
			w.pod.echo(pod)
			w.pod.datagram(t, service)
			w.outside.datagram(t, pod)
		}
		w.pod.ping(t, f.service)
		w.outside.ping(t, f.pod)
	}
}

func (n *namespace) echo(address string) {
	n.t.Helper()
	var c net.PacketConn
	var err error
	n.do(func() { c, err = net.ListenPacket("udp", address) })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if _, err := c.WriteTo(b[:size], from); err != nil {
				n.t.Error(err)
			}
		}
	}()
}

func (n *namespace) dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	n.do(func() { c, err = net.Dial(network, address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (n *namespace) datagram(t *testing.T, to string) {
	t.Helper()
	c := n.dial(t, "udp", to)
	b := make([]byte, 8)
	if _, err := io.WriteString(c, to[:4]); err != nil {
		t.Fatal(err)
	}
	if size, err := c.Read(b); err != nil || string(b[:size]) != to[:4] {
		t.Errorf("%s answers %q, %v", to, b[:size], err)
	}
}

func (n *namespace) ping(t *testing.T, to string) {
	t.Helper()
	network, protocol := "ip4:icmp", 1
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Data: []byte("weft")}}
	var reply icmp.Type = ipv4.ICMPTypeEchoReply
	if strings.Contains(to, ":") {
		network, protocol, message.Type, reply = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	b, err := message.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := n.dial(t, network, to)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	for { // a raw socket sees all that comes from there
		b := make([]byte, 256)
		size, _, err := c.(*net.IPConn).ReadFrom(b) // without the IP header
		if err != nil {
			t.Fatal(err)
		}
		if m, err := icmp.ParseMessage(protocol, b[:size]); err == nil && m.Type == reply {
			return
		}
	}
}

// TestWriteFiles: whoever runs the proxy can read them, whatever the umask, and nothing else is
// beside them.
func TestWriteFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	folder := t.TempDir()
	files := []redirect.File{{Path: folder + "/sds/token/token.json", Content: []byte("{}")}, {Path: folder + "/sds/roots/roots.json", Content: []byte("{ }")}}
	for range 2 {
		if err := redirect.WriteFiles(folder, files); err != nil {
			t.Fatal(err)
		}
	}
	var got strings.Builder
	if err := os.CopyFS(t.TempDir(), os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f.Path)
		beside, besideErr := os.ReadDir(f.Path[:strings.LastIndex(f.Path, "/")])
		at, statErr := os.Stat(f.Path)
		if err := errors.Join(err, besideErr, statErr); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %s %d;", content, at.Mode(), len(beside))
	}
	if want := "{} -rw-r--r-- 1;{ } -rw-r--r-- 1;"; got.String() != want {
		t.Errorf("%s; want %s", &got, want)
	}
	for _, d := range []string{"/sds/token", "/sds/roots"} {
		if at, err := os.Stat(folder + d); err != nil || at.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", d, at.Mode(), err)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}
