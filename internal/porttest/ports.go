// Package porttest gives tests ports for what binds them itself, and later: a proxy, an operator.
package porttest

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// The range is below those from which the kernel gives ports unasked, to a listener on port 0 or to a connection
// (net.ipv4.ip_local_port_range): what was free is so until it is bound.
const (
	first = 16000
	count = 12000
)

// looked counts the ports that this process has looked at, held has the names of those that it was given.
var (
	looked atomic.Uint32
	held   sync.Map
)

// Free returns n ports that nothing listens on, and that no other test is given, of this process or of another that
// runs beside it.
func Free(tb testing.TB, n int) (ports []uint32) {
	tb.Helper()
	for tries := 0; len(ports) < n; tries++ {
		port := first + looked.Add(1)%count
		err := reserve(port)
		switch {
		case err == nil:
			ports = append(ports, port)
		case tries == count:
			tb.Fatalf("no port is free: %v", err)
		}
	}
	return ports
}

// reserve holds a port for this process as long as it runs, by a name that only one can have, without binding it.
func reserve(port uint32) error {
	name, err := net.Listen("unix", fmt.Sprintf("@weft-test-port-%d", port))
	if err != nil {
		return err
	}
	held.Store(port, name) // what nothing refers to would be closed
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}
