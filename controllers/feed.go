package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
)

// Feed carries every object of one kind from the informer's cache to the inbox. Every replica
// runs it.
type Feed[T any, P object[T]] struct {
	table *incr.Table[string, P]
	inbox *cluster.Inbox
}

type object[T any] interface {
	*T
	client.Object
}

func feed[T any, P object[T]](in *cluster.Inbox, t *incr.Table[string, P]) Feed[T, P] {
	return Feed[T, P]{table: t, inbox: in}
}

// kind is a Feed of any kind.
type kind interface {
	of(s *runtime.Scheme) (schema.GroupVersionKind, error)
	start(ctx context.Context, c cache.Cache) (synced func() bool, err error)
	list(ctx context.Context, from client.Reader, s *runtime.Scheme) error
}

func (f Feed[T, P]) of(s *runtime.Scheme) (schema.GroupVersionKind, error) {
	return apiutil.GVKForObject(P(new(T)), s)
}

// start begins to feed. What synced tells is that every object there was at the start is in
// the inbox.
func (f Feed[T, P]) start(ctx context.Context, c cache.Cache) (synced func() bool, err error) {
	informer, err := c.GetInformer(ctx, P(new(T)), cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch %T: %w", *new(T), err)
	}
	handle, err := informer.AddEventHandler(f)
	if err != nil {
		return nil, fmt.Errorf("watch %T: %w", *new(T), err)
	}
	return handle.HasSynced, nil
}

// OnAdd takes in a new object.
func (f Feed[T, P]) OnAdd(obj any, _ bool) { f.put(obj) }

// OnUpdate takes in an object that changed.
func (f Feed[T, P]) OnUpdate(_, obj any) { f.put(obj) }

func (f Feed[T, P]) put(obj any) {
	if p, ok := obj.(P); ok {
		cluster.Put(f.inbox, f.table, keyOf(p), p)
	}
}

// OnDelete takes out an object, also one whose deletion itself was missed.
func (f Feed[T, P]) OnDelete(obj any) { cluster.Delete(f.inbox, f.table, keyOf(obj)) }

// keyOf is "namespace/name", or "name" of an object without a namespace.
func keyOf(obj any) string {
	key, _ := toolscache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	return key
}
