package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// origin answers as it is told, by URL; nothing while it is told nothing.
type origin struct {
	mu      sync.Mutex
	answers map[string]any // a text or an error
	asked   map[string]int
}

func (o *origin) get(_ context.Context, url, _ string, _ int64) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked[url]++
	if err, is := o.answers[url].(error); is {
		return "", err
	}
	return o.answers[url].(string), nil
}

func (o *origin) says(url string, answer any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[url] = answer
}

// fetching are Fetches that run, with tables that nothing else writes.
type fetching struct {
	*testing.T
	origin
	outbox *cluster.Outbox[core.Fetch]
	inbox  *cluster.Inbox
	tables *cluster.Tables
}

func startFetching(t *testing.T) *fetching {
	t.Helper()
	f := &fetching{T: t, origin: origin{answers: map[string]any{}, asked: map[string]int{}}, outbox: cluster.NewOutbox[core.Fetch](), inbox: cluster.NewInbox(), tables: cluster.NewTables()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	fetches := &Fetches{Outbox: f.outbox, Inbox: f.inbox, Table: f.tables.Fetched, Get: f.get, Pause: time.Millisecond}
	go func() {
		defer close(ended)
		_ = fetches.Start(ctx) // it returns no error
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return f
}

func (f *fetching) wants(url, digest string, wanted bool) {
	from := room.Remote{URL: url, SHA256: digest}
	f.outbox.Put(from.Key(), core.Fetch{Remote: from, Wanted: wanted})
}

// becomes waits until that is known of a text; nil: nothing.
func (f *fetching) becomes(url, digest string, want *cluster.Fetched) {
	f.Helper()
	var last cluster.Fetched
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		changes := f.inbox.Take()
		f.tables.Graph.Commit(func() {
			for _, change := range changes {
				change()
			}
		})
		has := false
		f.tables.Fetched.Each(func(k string, v cluster.Fetched) {
			if k == (room.Remote{URL: url, SHA256: digest}).Key() {
				last, has = v, true
			}
		})
		if has == (want != nil) && (want == nil || last == *want) {
			return
		}
		select {
		case <-f.inbox.Ready():
		case <-time.After(100 * time.Millisecond):
		}
	}
	f.Fatalf("%s: %+v, want %+v", url, last, want)
}

// TestFetches: what cannot be fetched is tried again until it is there; what is there is not fetched again from
// elsewhere, as long as somebody wants it.
func TestFetches(t *testing.T) {
	f := startFetching(t)
	f.says("a", errors.New("is away"))
	f.wants("a", "1", true)
	f.becomes("a", "1", &cluster.Fetched{Problem: "is away", Awaited: true})
	f.says("a", error(download.Mismatch{}))
	f.becomes("a", "1", &cluster.Fetched{Problem: download.Mismatch{}.Error()})
	f.says("a", "text")
	f.becomes("a", "1", &cluster.Fetched{Text: "text"})
	f.says("b", errors.New("is away"))
	f.wants("b", "1", true)
	f.becomes("b", "1", &cluster.Fetched{Text: "text"})
	f.wants("a", "1", false)
	f.becomes("a", "1", nil)
	f.wants("b", "1", false)
	f.becomes("b", "1", nil)
	f.wants("b", "1", true)
	f.becomes("b", "1", &cluster.Fetched{Problem: "is away", Awaited: true})
	if f.asked["a"] < 3 {
		t.Errorf("asked %v", f.asked)
	}
}
