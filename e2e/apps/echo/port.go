package main

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// port is one of the application's ports. It can be closed and opened again, and counts what it
// reads.
type port struct {
	name    string
	address string // host:port to listen on; empty: it only stands for a state
	serve   func(net.Listener) error

	connections atomic.Int64
	bytes       atomic.Int64

	mu       sync.Mutex
	on       bool
	listener net.Listener
	open     map[net.Conn]bool
}

// turn opens or closes the port. Closing it ends its connections too.
func (p *port) turn(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on == on {
		return nil
	}
	p.on = on
	if p.address == "" {
		return nil
	}
	if !on {
		err := p.listener.Close()
		for conn := range p.open {
			err = errors.Join(err, conn.Close())
		}
		return err
	}
	plain, err := net.Listen("tcp", p.address)
	if err != nil {
		p.on = false
		return err
	}
	p.address = plain.Addr().String() // the same one the next time, where any would do
	p.listener, p.open = plain, map[net.Conn]bool{}
	go func() { _ = p.serve(counting{plain, p}) }() // it ends when the port is closed
	return nil
}

func (p *port) isOn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on
}

// counting is a listener that tells its port of connections and bytes.
type counting struct {
	net.Listener
	port *port
}

func (l counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.port.connections.Add(1)
	counted := &countedConn{Conn: conn, port: l.port}
	l.port.mu.Lock()
	defer l.port.mu.Unlock()
	l.port.open[counted] = true
	return counted, nil
}

type countedConn struct {
	net.Conn
	port *port
}

func (c *countedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	c.port.bytes.Add(int64(n))
	return n, err
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	go c.forget() // the port may hold its lock
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *countedConn) forget() {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	delete(c.port.open, c)
}
