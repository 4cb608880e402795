package controllers

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weft-mesh/weft/internal/cluster"
)

// subject is the object that something is wanted of.
type subject struct{ kind, key string }

func (s subject) name() types.NamespacedName {
	namespace, name, _ := toolscache.SplitMetaNamespaceKey(s.key)
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// writer makes the API server hold what an outbox wants: the latest of each subject, again
// after a failure, and again when somebody else changed it.
type writer[V any] struct {
	outbox  *cluster.Outbox[V]
	of      func(V) subject
	follow  func(ctx context.Context, kind string) error // called once for each kind, at its first subject
	write   func(ctx context.Context, at subject, wanted V) (done bool, err error)
	workers int

	queue  workqueue.TypedRateLimitingInterface[subject]
	mu     sync.Mutex
	wanted map[subject]*V
}

// run writes until ctx ends.
func (w *writer[V]) run(ctx context.Context) error {
	w.wanted = map[subject]*V{}
	w.queue = workqueue.NewTypedRateLimitingQueue(retries[subject]())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer w.queue.ShutDown()
	for range w.workers {
		workers.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	followed := map[string]bool{}
	w.outbox.Again()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.outbox.Ready():
			if err := w.take(ctx, followed); err != nil {
				return err
			}
		}
	}
}

func (w *writer[V]) take(ctx context.Context, followed map[string]bool) error {
	for _, wanted := range w.outbox.Take() {
		at := w.of(wanted)
		w.mu.Lock()
		w.wanted[at] = &wanted
		w.mu.Unlock()
		if !followed[at.kind] {
			if err := w.follow(ctx, at.kind); err != nil {
				return err
			}
			followed[at.kind] = true
		}
		w.queue.Add(at)
	}
	return nil
}

// again looks at a subject once more, if anything is wanted of it.
func (w *writer[V]) again(at subject) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted[at] != nil {
		w.queue.Add(at)
	}
}

// againWhere looks once more at the subjects of which such is wanted.
func (w *writer[V]) againWhere(such func(V) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, wanted := range w.wanted {
		if such(*wanted) {
			w.queue.Add(at)
		}
	}
}

func (w *writer[V]) next(ctx context.Context) bool {
	at, closed := w.queue.Get()
	if closed {
		return false
	}
	defer w.queue.Done(at)
	w.mu.Lock()
	wanted := w.wanted[at]
	w.mu.Unlock()
	if wanted == nil {
		return true
	}
	done, err := w.write(ctx, at, *wanted)
	switch {
	case err == nil:
		w.queue.Forget(at)
		if done {
			w.forget(at, wanted)
		}
	case apierrors.IsConflict(err):
		w.queue.AddRateLimited(at) // the cache is about to hold what we conflict with
	case ctx.Err() == nil:
		log.FromContext(ctx).Error(err, "Not written", "kind", at.kind, "name", at.key)
		w.queue.AddRateLimited(at)
	}
	return true
}

// forget drops a subject, unless something else is wanted of it by now.
func (w *writer[V]) forget(at subject, wanted *V) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted[at] == wanted {
		delete(w.wanted, at)
	}
}
