package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// feeds starts the Feed of each kind when the API server serves it.
type feeds struct {
	cache   cache.Cache
	kinds   map[schema.GroupVersionKind]kind
	started map[schema.GroupVersionKind]func() (synced bool)
}

func newFeeds(c cache.Cache, s *runtime.Scheme, kinds []kind) (*feeds, error) {
	f := &feeds{cache: c, kinds: map[schema.GroupVersionKind]kind{}, started: map[schema.GroupVersionKind]func() bool{}}
	for _, k := range kinds {
		gvk, err := k.of(s)
		if err != nil {
			return nil, fmt.Errorf("feed: %w", err)
		}
		f.kinds[gvk] = k
	}
	return f, nil
}

// versions are the groups and versions of the kinds.
func (f *feeds) versions() (all []schema.GroupVersion) {
	seen := map[schema.GroupVersion]bool{}
	for gvk := range f.kinds {
		if gv := gvk.GroupVersion(); !seen[gv] {
			seen[gv] = true
			all = append(all, gv)
		}
	}
	return all
}

// start starts what is served and not started yet. A kind that goes and comes back is fed again
// by the informer that it had.
func (f *feeds) start(ctx context.Context, served Served) error {
	var failed []error
	for gvk, k := range f.kinds {
		if !served.kinds[gvk] || f.started[gvk] != nil {
			continue
		}
		synced, err := k.start(ctx, f.cache)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		f.started[gvk] = synced
	}
	return errors.Join(failed...)
}

// conversionPatience is how long kinds are waited for that cannot be listed until somebody converts them.
const conversionPatience = 30 * time.Second

// wait returns when the inbox has all there was of every kind that is started; false when ctx ended
// before. SMI's kinds, which nothing else depends on, are waited for at most as long as patience: the API
// server may need a webhook to list them.
func (f *feeds) wait(ctx context.Context, patience time.Duration) bool {
	var synced, converted []toolscache.InformerSynced
	for gvk, s := range f.started {
		if strings.HasSuffix(gvk.Group, ".smi-spec.io") {
			converted = append(converted, s)
		} else {
			synced = append(synced, s)
		}
	}
	limited, done := context.WithTimeout(ctx, patience)
	defer done()
	toolscache.WaitForCacheSync(limited.Done(), converted...)
	return toolscache.WaitForCacheSync(ctx.Done(), synced...)
}
