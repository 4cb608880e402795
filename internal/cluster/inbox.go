package cluster

import (
	"sync"

	"github.com/weft-mesh/weft/internal/incr"
)

// Inbox keeps the latest change of each object until it is committed. It is safe for
// concurrent use, and its size is bounded by the number of objects: a burst of changes to one
// object is one change.
type Inbox struct {
	mu     sync.Mutex
	order  []address
	latest map[address]func()
	ready  chan struct{}
}

type address struct {
	table any
	key   string
}

// NewInbox makes an empty Inbox.
func NewInbox() *Inbox {
	return &Inbox{latest: map[address]func(){}, ready: make(chan struct{}, 1)}
}

// Put asks that key of t become v.
func Put[V any](in *Inbox, t *incr.Table[string, V], key string, v V) {
	in.put(address{t, key}, func() { t.Set(key, v) })
}

// Delete asks that key leave t.
func Delete[V any](in *Inbox, t *incr.Table[string, V], key string) {
	in.put(address{t, key}, func() { t.Delete(key) })
}

func (in *Inbox) put(a address, change func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, waits := in.latest[a]; !waits {
		in.order = append(in.order, a)
	}
	in.latest[a] = change
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// Ready delivers when changes wait.
func (in *Inbox) Ready() <-chan struct{} { return in.ready }

// Take returns the changes that wait, in the order in which their objects first changed, and
// leaves the Inbox empty.
func (in *Inbox) Take() []func() {
	in.mu.Lock()
	defer in.mu.Unlock()
	changes := make([]func(), len(in.order))
	for i, a := range in.order {
		changes[i] = in.latest[a]
	}
	in.order = nil
	clear(in.latest)
	return changes
}
