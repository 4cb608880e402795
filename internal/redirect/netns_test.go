package redirect_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace with one thread in it. It ends with the thread.
type namespace struct {
	t    testing.TB
	jobs chan func()
	tid  int
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for program, from := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: apt-get install %s", err, from)
		}
	}
	n := &namespace{t: t, jobs: make(chan func())}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		n.tid = unix.Gettid()
		failed <- unix.Unshare(unix.CLONE_NEWNET)
		for job := range n.jobs {
			job()
		}
	}()
	if err := <-failed; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.jobs) })
	n.run("ip", "link", "set", "lo", "up")
	return n
}

// do runs f, and what f starts, in the namespace.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.jobs <- func() { f(); close(done) }
	<-done
}

func (n *namespace) run(command ...string) string {
	n.t.Helper()
	return n.feed("", command...)
}

func (n *namespace) feed(stdin string, command ...string) string {
	n.t.Helper()
	var out []byte
	var err error
	n.do(func() {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		n.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// connect makes a link eth0 between two namespaces, with these addresses at its ends.
func connect(pod, outside *namespace, atPod, atOutside []string) {
	pod.t.Helper()
	pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(outside.tid))
	for n, addresses := range map[*namespace][]string{pod: atPod, outside: atOutside} {
		for _, a := range addresses {
			n.address(a, "eth0")
		}
		n.run("ip", "link", "set", "eth0", "up")
	}
}

func (n *namespace) address(cidr, device string) {
	n.t.Helper()
	command := []string{"ip", "addr", "add", cidr, "dev", device}
	if strings.Contains(cidr, ":") {
		command = append(command, "nodad")
	}
	n.run(command...)
}

// serve answers each connection with the name, the destination that its sender meant and the sender.
func (n *namespace) serve(name, address string) net.Listener {
	n.t.Helper()
	return n.listen(address, func(c net.Conn) {
		defer c.Close()
		from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		fmt.Fprintf(c, "%s for %s from %s", name, meant(c.(*net.TCPConn)), from)
	})
}

func (n *namespace) listen(address string, handle func(net.Conn)) net.Listener {
	n.t.Helper()
	var l net.Listener
	var err error
	n.do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l
}

// meant asks the kernel for the destination before a redirection, by the connection's own family even
// where the listener has the other one. A namespace without redirection knows of none.
func meant(c *net.TCPConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return err.Error()
	}
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	var at netip.AddrPort
	controlErr := raw.Control(func(fd uintptr) {
		const originalDst = 80 // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
		if local.Addr().Unmap().Is4() {
			var v4 *unix.IPv6Mreq // large enough for a sockaddr_in
			if v4, err = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, originalDst); err == nil {
				a := v4.Multiaddr
				at = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), uint16(a[2])<<8|uint16(a[3]))
			}
			return
		}
		var v6 *unix.IPv6MTUInfo
		if v6, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, originalDst); err == nil {
			at = netip.AddrPortFrom(netip.AddrFrom16(v6.Addr.Addr), v6.Addr.Port<<8|v6.Addr.Port>>8)
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return netip.AddrPortFrom(local.Addr().Unmap(), local.Port()).String()
	}
	if controlErr != nil || err != nil {
		return fmt.Sprint(controlErr, err)
	}
	return at.String()
}

// child runs one of TestMain's roles in the namespace, as the user.
func (n *namespace) child(uid, gid int, capabilities []uintptr, role ...string) string {
	n.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "), "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		AmbientCaps: capabilities,
	}
	var err error
	n.do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		n.t.Fatalf("%s: %v: %s", role, err, &out)
	}
	return out.String()
}
