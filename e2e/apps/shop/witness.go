package main

import (
	"bytes"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
)

// witness is a listener whose connections remember the request that has reached this process and
// is not answered yet. It looks at the bytes, not at handlers, so that nothing is missed between
// the kernel, the HTTP server and the handler.
type witness struct {
	net.Listener
	open sync.Map // *seenConn → nothing
}

type seenConn struct {
	net.Conn
	id atomic.Pointer[string]
}

func (w *witness) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	seen := &seenConn{Conn: conn}
	w.open.Store(seen, nil)
	return seen, nil
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
		w.open.Delete(seen)
	}
}

// abandon closes everything and returns the ids of the requests that reached this process and will
// have no answer, those that still lie unread in the kernel among them. Each connection is closed
// right after it was looked at, as the kernel would do a little later, so that no request slips in
// between.
func (w *witness) abandon() []string {
	_ = w.Close() // the process ends
	var ids []string
	w.open.Range(func(key, _ any) bool {
		seen := key.(*seenConn)
		if id := idIn(seen.unread()); id != "" {
			ids = append(ids, id)
		}
		_ = seen.Close()
		if id := seen.id.Load(); id != nil {
			ids = append(ids, *id)
		}
		return true
	})
	return ids
}

// unread is what the kernel holds for this connection; it takes nothing away.
func (c *seenConn) unread() []byte {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil
	}
	buffer, n := make([]byte, 8<<10), 0
	_ = raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), buffer, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return buffer[:max(n, 0)]
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
