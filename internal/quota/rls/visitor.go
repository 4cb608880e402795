package rls

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	// A token is reviewed anew after reviewEvery, and one that was refused after refusedFor; what its pod sees,
	// after seesFor.
	reviewEvery = 10 * time.Minute
	refusedFor  = time.Second
	seesFor     = 10 * time.Second
)

// doorman makes a visitor of every connection.
type doorman struct {
	credentials.TransportCredentials
	server *Server
}

func (d doorman) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := d.TransportCredentials.ServerHandshake(c)
	return conn, &visitor{AuthInfo: info, server: d.server}, err
}

func (d doorman) Clone() credentials.TransportCredentials {
	return doorman{d.TransportCredentials.Clone(), d.server}
}

// visitor is a connection. Its token is reviewed once, not with each question, and on its own time: a question
// that gives up leaves the review to the next.
type visitor struct {
	credentials.AuthInfo
	server *Server

	mu     sync.Mutex
	review *review // of the token shown last
	who    quota.Who
	sees   time.Time // until when who holds
}

type review struct {
	token string
	done  chan struct{} // closed when what follows is there
	id    xds.Identity
	err   error
	until time.Time
}

// identify says who asks, by the token of one question.
func (v *visitor) identify(ctx context.Context) (quota.Who, error) {
	token, err := xds.Bearer(ctx)
	if err != nil {
		return quota.Who{}, err
	}
	now := time.Now()
	r, who, known := v.reviewed(token, now)
	if known {
		return who, nil
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return quota.Who{}, status.FromContextError(ctx.Err()).Err()
	}
	switch {
	case r.token != token:
		return quota.Who{}, status.Error(codes.Unavailable, "another token was being reviewed; ask again")
	case r.err != nil:
		return quota.Who{}, r.err
	}
	return v.place(r, now)
}

// reviewed says who shows a token, if that is known, or returns the review to wait for. There is one at a time: who
// shows another token with each question has no more reviewed for that.
func (v *visitor) reviewed(token string, now time.Time) (r *review, who quota.Who, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.review != nil && v.review.token == token && now.Before(v.sees) {
		return v.review, v.who, true
	}
	if v.review == nil || v.review.made() && (v.review.token != token || !now.Before(v.review.until)) {
		v.review, v.sees = v.server.begin(token), time.Time{}
	}
	return v.review, quota.Who{}, false
}

// place says what the visitor of a token sees.
func (v *visitor) place(r *review, now time.Time) (quota.Who, error) {
	who, ok := v.server.Asks(r.id)
	if !ok {
		return who, status.Errorf(codes.PermissionDenied, "pod %s is not in the mesh", r.id)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.review == r {
		v.who, v.sees = who, now.Add(seesFor)
		if r.until.Before(v.sees) {
			v.sees = r.until
		}
	}
	return who, nil
}

func (r *review) made() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (s *Server) begin(token string) *review {
	r := &review{token: token, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.id, r.err = s.gate.Review(context.Background(), token)
		now := time.Now()
		r.until = now.Add(reviewEvery)
		if r.err != nil {
			r.until = now.Add(refusedFor)
		} else if r.id.Expires.Before(r.until) {
			r.until = r.id.Expires
		}
	}()
	return r
}
