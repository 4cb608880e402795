package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/extensions"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Fetches gets what policies want fetched, in every replica: what failed, again and again, and what is there, never
// again. A text is kept as long as some policy wants its digest, from wherever.
type Fetches struct {
	Outbox *cluster.Outbox[core.Fetch]
	Inbox  *cluster.Inbox
	Table  *incr.Table[string, cluster.Fetched]
	Get    func(ctx context.Context, url, digest string, most int64) (string, error) // nil: by HTTP
	Pause  time.Duration                                                             // after the first failure; 0: fetchPause

	mu    sync.Mutex
	wants map[string]int    // of digests
	kept  map[string]string // by digest
}

const (
	fetchPause   = time.Second
	fetchLongest = 5 * time.Minute
	atOnce       = 2 // downloads
)

// NeedLeaderElection is false: every replica renders what it fetched.
func (f *Fetches) NeedLeaderElection() bool { return false }

// Start fetches until ctx ends.
func (f *Fetches) Start(ctx context.Context) error {
	f.wants, f.kept = map[string]int{}, map[string]string{}
	if f.Get == nil {
		f.Get = download.New(nil).Get
	}
	turns := make(chan struct{}, atOnce)
	ends := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.Outbox.Ready():
		}
		for _, fetch := range f.Outbox.Take() {
			key := fetch.Key()
			if end, has := ends[key]; has {
				end()
				delete(ends, key)
				f.want(fetch.SHA256, -1)
			}
			if !fetch.Wanted {
				cluster.Delete(f.Inbox, f.Table, key)
				continue
			}
			f.want(fetch.SHA256, 1)
			own, end := context.WithCancel(ctx)
			ends[key] = end
			all.Go(func() { f.fetch(own, fetch.Remote, turns) })
		}
	}
}

// want counts who wants a digest; what nobody wants is dropped.
func (f *Fetches) want(digest string, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wants[digest] += by; f.wants[digest] == 0 {
		delete(f.wants, digest)
		delete(f.kept, digest)
	}
}

// fetch tells what comes of a text until it is there.
func (f *Fetches) fetch(ctx context.Context, from room.Remote, turns chan struct{}) {
	pause := wait.Backoff{Duration: f.Pause, Factor: 2, Jitter: 0.1, Steps: 1 << 20, Cap: fetchLongest}
	if pause.Duration == 0 {
		pause.Duration = fetchPause
	}
	for {
		text, err := f.text(ctx, from, turns)
		if ctx.Err() != nil {
			return
		}
		found := cluster.Fetched{Text: text}
		if err != nil {
			found = cluster.Fetched{Problem: err.Error(), Awaited: !errors.As(err, new(download.Mismatch))}
		}
		f.tell(ctx, from.Key(), found)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.Step()):
		}
	}
}

// tell has the next commit know, unless it is wanted no more.
func (f *Fetches) tell(ctx context.Context, key string, found cluster.Fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		cluster.Put(f.Inbox, f.Table, key, found)
	}
}

// text is one that is kept, or else fetched in its turn.
func (f *Fetches) text(ctx context.Context, from room.Remote, turns chan struct{}) (string, error) {
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	f.mu.Lock()
	text, kept := f.kept[from.SHA256]
	f.mu.Unlock()
	if kept {
		return text, nil
	}
	text, err := f.Get(ctx, from.URL, from.SHA256, extensions.MaxModule)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wants[from.SHA256] > 0 {
		f.kept[from.SHA256] = text
	}
	return text, nil
}
