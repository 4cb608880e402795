package controllers

import (
	"context"
	"sync"

	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/internal/gateway"
)

// SetPorts tells Proxies which ports the ListenerSets of a Gateway ask for.
type SetPorts struct {
	// Of are those of one Gateway, by its key; not known: not yet. It is safe for concurrent use.
	Of func(gateway string) (ports []gateway.Port, known bool)

	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request] // nil: nobody listens
}

// Changed says that those of one Gateway are others now. Who begins to listen later looks at every Gateway.
func (s *SetPorts) Changed(gateway string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace, name, err := cache.SplitMetaNamespaceKey(gateway)
	if err == nil && s.queue != nil {
		s.queue.Add(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}})
	}
}

func (s *SetPorts) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = queue
	return nil
}
