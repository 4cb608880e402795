package cluster

import "sync"

// Outbox keeps the latest result for each key until somebody takes it. It is safe for
// concurrent use.
type Outbox[V any] struct {
	mu     sync.Mutex
	order  []string
	latest map[string]V
	all    map[string]V
	ready  chan struct{}
}

// NewOutbox makes an empty Outbox.
func NewOutbox[V any]() *Outbox[V] {
	return &Outbox[V]{latest: map[string]V{}, all: map[string]V{}, ready: make(chan struct{}, 1)}
}

// Put replaces what waits under key and is remembered for Again.
func (o *Outbox[V]) Put(key string, v V) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[key] = v
	o.put(key, v)
}

// Forget puts v, the last word on key, and remembers nothing of it.
func (o *Outbox[V]) Forget(key string, v V) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, key)
	o.put(key, v)
}

// Again makes everything that still holds wait once more: a new leader says it all.
func (o *Outbox[V]) Again() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, v := range o.all {
		o.put(k, v)
	}
}

func (o *Outbox[V]) put(key string, v V) {
	if _, waits := o.latest[key]; !waits {
		o.order = append(o.order, key)
	}
	o.latest[key] = v
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// Ready delivers when results wait.
func (o *Outbox[V]) Ready() <-chan struct{} { return o.ready }

// Take returns what waits, oldest key first, and leaves nothing waiting.
func (o *Outbox[V]) Take() []V {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]V, len(o.order))
	for i, k := range o.order {
		out[i] = o.latest[k]
	}
	o.order = nil
	clear(o.latest)
	return out
}
