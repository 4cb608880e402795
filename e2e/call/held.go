package call

import (
	"context"
	"net"
	"time"
)

// Held is a connection that stays open from one exchange to the next.
type Held struct {
	conn    net.Conn
	request Request
}

// Open connects, under TLS where the protocol is Mesh, as TCP otherwise. Nothing is said yet.
func Open(ctx context.Context, r Request) (*Held, error) {
	if r.Within == 0 {
		r.Within = patience
	}
	ctx, cancel := context.WithTimeout(ctx, r.Within)
	defer cancel()
	if r.Protocol == Mesh {
		conn, err := r.secure(ctx)
		if err != nil {
			return nil, err
		}
		return &Held{conn, r}, nil
	}
	conn, err := dial(ctx, r.Address)
	if err != nil {
		return nil, err
	}
	return &Held{conn, r}, nil
}

// Say makes one exchange. An error that is os.ErrDeadlineExceeded says that the other side is silent; any
// other, that the connection has ended.
func (h *Held) Say(text string) (Outcome, error) {
	if err := h.conn.SetDeadline(time.Now().Add(h.request.Within)); err != nil {
		return Outcome{}, err
	}
	next := h.request
	next.Text = text
	return next.lines(h.conn)
}

// Close ends the connection.
func (h *Held) Close() error { return h.conn.Close() }
