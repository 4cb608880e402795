// Package probe asks one thing of a server over and over, on a connection that it keeps.
package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Pause is the time between an answer and the next request.
const Pause = time.Millisecond

// patience is the longest time without the answer that is waited for.
const patience = 30 * time.Second

// Conn is one connection and the one request that is sent on it.
type Conn struct {
	net.Conn
	request []byte
	reader  *bufio.Reader
}

// Dial connects to a host:port. Requests are GETs of that path at that host.
func Dial(address, host, path string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	p := &Conn{Conn: c, reader: bufio.NewReader(c)}
	p.Ask(host, path)
	return p, nil
}

// Ask makes GET path at host the request from now on.
func (c *Conn) Ask(host, path string) {
	c.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

// Status sends the request and returns the answer's status.
func (c *Conn) Status() (int, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.Write(c.request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// Until asks until the answer is wanted. Any answer but that and before is an error.
func (c *Conn) Until(ctx context.Context, wanted, before int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		status, err := c.Status()
		switch {
		case err != nil:
			return err
		case status == wanted:
			return nil
		case status != before:
			return fmt.Errorf("the answer was %d: neither %d nor %d", status, before, wanted)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no %d: %w", wanted, ctx.Err())
		case <-time.After(Pause):
		}
	}
}
