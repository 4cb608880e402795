package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// pool keeps idle connections. The one idle for longest is taken first, so that each of them is
// used all the time and hears soon when the server wants it closed.
type pool struct {
	target Target

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func newPool(target Target) *pool { return &pool{target: target} }

// take returns an idle connection that is not known to be closed, or a new one.
func (p *pool) take() (*conn, error) {
	for {
		p.mu.Lock()
		if len(p.idle) == 0 {
			p.mu.Unlock()
			return dial(p.target)
		}
		first := p.idle[0]
		p.idle = p.idle[1:]
		p.mu.Unlock()
		if first.alive() {
			return first, nil
		}
		first.Close()
	}
}

// put gives a connection back. One that the server will close is closed here.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.last {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// conn is one HTTP/1.1 connection. A goroutine reads it all the time, so that the end of an idle
// connection is seen at once, under TLS too.
type conn struct {
	net.Conn
	reader  *bufio.Reader
	asked   chan *http.Request
	answers chan answer
	gone    chan struct{} // closed when nothing can be read any more
	used    int           // requests sent so far
	last    bool          // the server has asked to close it
}

type answer struct {
	status int
	id     string
	last   bool
	err    error
}

func dial(target Target) (*conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", target.Address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: plain, asked: make(chan *http.Request, 1), answers: make(chan answer, 1), gone: make(chan struct{})}
	if target.TLS != nil {
		secure := tls.Client(plain, target.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			plain.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		c.Conn = secure
	}
	c.reader = bufio.NewReader(c.Conn)
	go c.read()
	return c, nil
}

func (c *conn) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// exchange writes one request and waits for its answer. After an error the connection is closed.
func (c *conn) exchange(request *http.Request, deadline time.Time) (status int, id string, err error) {
	c.used++
	c.asked <- request
	_ = c.SetDeadline(deadline) // an error shows in the write
	if err := request.Write(c.Conn); err != nil {
		c.Close()
		return 0, "", fmt.Errorf("write: %w", err)
	}
	got := c.wait()
	if got.err != nil {
		c.Close()
		return 0, "", fmt.Errorf("read: %w", got.err)
	}
	_ = c.SetDeadline(time.Time{}) // an error shows in the next write
	c.last = got.last
	return got.status, got.id, nil
}

// wait prefers an answer to the end of the connection that may have followed it.
func (c *conn) wait() answer {
	select {
	case got := <-c.answers:
		return got
	case <-c.gone:
	}
	select {
	case got := <-c.answers:
		return got
	default:
		return answer{err: io.ErrUnexpectedEOF}
	}
}

// read takes answers off the connection until it ends.
func (c *conn) read() {
	defer close(c.gone)
	for {
		_, err := c.reader.Peek(1)
		var request *http.Request
		select {
		case request = <-c.asked:
		default:
			return // it ended, or the server spoke unasked
		}
		if err != nil {
			c.answers <- answer{err: err}
			return
		}
		got := c.answer(request)
		c.answers <- got
		if got.err != nil || got.last {
			return
		}
	}
}

func (c *conn) answer(request *http.Request) answer {
	response, err := http.ReadResponse(c.reader, request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return answer{err: errors.Join(errors.New("the body broke off"), err)}
	}
	return answer{status: response.StatusCode, id: response.Header.Get(IDHeader), last: response.Close}
}
