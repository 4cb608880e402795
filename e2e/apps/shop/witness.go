package main

import (
	"bytes"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// witness is a listener whose connections remember the request that has reached this process and
// is not answered yet. It looks at the bytes, not at handlers, so that nothing is missed between
// the kernel, the HTTP server and the handler.
type witness struct {
	net.Listener
	open    sync.Map // *seenConn → nothing
	leaving atomic.Bool
	left    chan struct{} // closed when the server accepts no more
}

type seenConn struct {
	net.Conn
	id atomic.Pointer[string]
}

func newWitness(l net.Listener) *witness { return &witness{Listener: l, left: make(chan struct{})} }

// Accept never returns once the process leaves.
func (w *witness) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		if w.leaving.Load() {
			close(w.left)
			select {}
		}
		return nil, err
	}
	return w.see(conn), nil
}

func (w *witness) see(conn net.Conn) *seenConn {
	seen := &seenConn{Conn: conn}
	w.open.Store(seen, nil)
	return seen
}

func (c *seenConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if id := idIn(into[:n]); id != "" {
		c.id.Store(&id)
	}
	return n, err
}

// state is the server's ConnState hook: a connection turns idle once its answer is written.
func (w *witness) state(conn net.Conn, state http.ConnState) {
	seen := conn.(*seenConn)
	switch state {
	case http.StateIdle:
		seen.id.Store(nil)
	case http.StateClosed, http.StateHijacked:
		if !w.leaving.Load() {
			w.open.Delete(seen)
		}
	}
}

// farewell bounds how long a leaving process listens for what its peers had sent before they knew. They close at
// once when they do, which on a busy machine takes them hundreds of milliseconds.
const farewell = 3 * time.Second

// abandon ends every connection as the kernel does when a process exits, and returns the ids of the
// requests that reached this process and will have no answer: those in hand, those that lie unread in
// the kernel, those on connections that the kernel had accepted and the server had not, and those that
// were on their way when the connection ended.
func (w *witness) abandon() []string {
	w.acceptRest()
	var ids []string
	var mu sync.Mutex
	var all sync.WaitGroup
	w.open.Range(func(key, _ any) bool {
		all.Go(func() {
			last := key.(*seenConn).last()
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, last...)
		})
		return true
	})
	all.Wait()
	return ids
}

// acceptRest accepts what the kernel had accepted before it closes the listener.
func (w *witness) acceptRest() {
	w.leaving.Store(true)
	listener := w.Listener.(*net.TCPListener)
	_ = listener.SetDeadline(time.Now()) // a listener has deadlines
	<-w.left
	_ = listener.SetDeadline(time.Time{})
	for queued(listener) {
		conn, err := listener.Accept()
		if err != nil {
			break
		}
		w.see(conn)
	}
	_ = listener.Close() // the process ends
}

// queued tells whether the kernel has a connection for the server.
func queued(l *net.TCPListener) (yes bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 0)
		yes = err == nil && n == 1
	})
	return yes
}

// last says goodbye and returns what was left unanswered. The server may still read: what it has read is
// in id, what it has not is in the kernel.
func (c *seenConn) last() (ids []string) {
	_ = c.Conn.(*net.TCPConn).CloseWrite() // the peer may have closed it
	held, over := c.unread()
	for deadline := time.Now().Add(farewell); !over && time.Now().Before(deadline); held, over = c.unread() {
		time.Sleep(time.Millisecond)
	}
	if id := idIn(held); id != "" {
		ids = append(ids, id)
	}
	if id := c.id.Load(); id != nil {
		ids = append(ids, *id)
	}
	return ids
}

// unread is what the kernel holds for this connection; it takes nothing away. It is over when the peer
// has closed it, or the server has.
func (c *seenConn) unread() (held []byte, over bool) {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, true
	}
	buffer, n := make([]byte, 8<<10), 0
	var failed error
	if err := raw.Control(func(fd uintptr) {
		n, _, failed = syscall.Recvfrom(int(fd), buffer, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); err != nil {
		return nil, true
	}
	return buffer[:max(n, 0)], n == 0 || failed != nil && failed != syscall.EAGAIN
}

// idLine finds the id header in the head of a request.
var idLine = regexp.MustCompile(`(?i)\norder-id:[ \t]*([^\r\n]*)\r`)

// idIn is the id in the head of a request. HTTP/1.1 clients here send one request at a time and its
// head in one segment.
func idIn(head []byte) string {
	found := idLine.FindSubmatch(head)
	if found == nil {
		return ""
	}
	return string(bytes.TrimSpace(found[1]))
}
