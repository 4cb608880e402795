package gateway

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/probe"
	"github.com/weft-mesh/weft/e2e/stage"
)

// site is what a route serves.
type site struct{ name, host, path string }

// own is a site with a hostname of its own, sharing one on a hostname that others have too.
func own(name string, i int) site {
	return site{fmt.Sprintf("%s-%d", name, i), fmt.Sprintf("%s-%d.test", name, i), "/"}
}

func sharing(name string, i int) site {
	return site{fmt.Sprintf("%s-%d", name, i), "shared.test", fmt.Sprintf("/%s/%d", name, i)}
}

const manyLabel = "bench"

func (b *bench) route(s site) *gwv1.HTTPRoute {
	r := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: s.name}}
	r.Spec.ParentRefs = []gwv1.ParentReference{{Name: "front"}}
	r.Spec.Hostnames = []gwv1.Hostname{gwv1.Hostname(s.host)}
	to := gwv1.HTTPBackendRef{}
	to.Name, to.Port = "shop", new(gwv1.PortNumber(80))
	r.Spec.Rules = []gwv1.HTTPRouteRule{{
		Matches:     []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Type: new(gwv1.PathMatchPathPrefix), Value: &s.path}}},
		BackendRefs: []gwv1.HTTPBackendRef{to},
	}}
	return r
}

const (
	creators = 16
	slow     = 3 * time.Minute
)

// fill creates the sites from up to to, and waits until all are accepted and the last serves.
func (b *bench) fill(ctx context.Context, from, to int, of func(string, int) site) error {
	if err := b.create(ctx, from, to, of); err != nil {
		return err
	}
	if err := b.answers(ctx, of("many", to-1), http.StatusOK); err != nil {
		return err
	}
	return stage.Until(ctx, slow, func(ctx context.Context) error { return b.accepted(ctx, to) })
}

// create makes the sites' routes, several at once.
func (b *bench) create(ctx context.Context, from, to int, of func(string, int) site) error {
	return atOnce(from, to, func(i int) error {
		r := b.route(of("many", i))
		r.Labels = map[string]string{manyLabel: "many"}
		if err := b.Create(ctx, r); err != nil {
			return fmt.Errorf("create route %d: %w", i, err)
		}
		return nil
	})
}

// atOnce does something for each number, several at once, until one fails.
func atOnce(from, to int, do func(i int) error) error {
	numbers, failed := make(chan int), make(chan error, creators)
	var workers sync.WaitGroup
	for range creators {
		workers.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := feed(numbers, failed, from, to)
	workers.Wait()
	if err == nil && len(failed) > 0 {
		err = <-failed
	}
	return err
}

func feed(numbers chan<- int, failed <-chan error, from, to int) error {
	defer close(numbers)
	for i := from; i < to; i++ {
		select {
		case numbers <- i:
		case err := <-failed:
			return err
		}
	}
	return nil
}

// accepted is nil when so many routes say that they are.
func (b *bench) accepted(ctx context.Context, wanted int) error {
	var list gwv1.HTTPRouteList
	if err := b.List(ctx, &list, client.InNamespace(b.namespace), client.MatchingLabels{manyLabel: "many"}); err != nil {
		return err
	}
	count := 0
	for _, route := range list.Items {
		for _, parent := range route.Status.Parents {
			if meta.IsStatusConditionTrue(parent.Conditions, string(gwv1.RouteConditionAccepted)) {
				count++
			}
		}
	}
	if count != wanted {
		return fmt.Errorf("%d of %d routes are accepted", count, wanted)
	}
	return nil
}

// answers waits until a site answers with that status.
func (b *bench) answers(ctx context.Context, s site, status int) error {
	return stage.Until(ctx, slow, func(context.Context) error {
		c, err := probe.Dial(b.address, s.host, s.path)
		if err != nil {
			return err
		}
		defer c.Close()
		if got, err := c.Status(); err != nil || got != status {
			return fmt.Errorf("%s%s answers %d, not %d: %v", s.host, s.path, got, status, err)
		}
		return nil
	})
}

// clear deletes what fill made.
func (b *bench) clear(ctx context.Context) error {
	b.say("remove the routes")
	err := b.DeleteAllOf(ctx, &gwv1.HTTPRoute{}, client.InNamespace(b.namespace), client.MatchingLabels{manyLabel: "many"})
	if err != nil {
		return fmt.Errorf("remove the routes: %w", err)
	}
	if err := b.answers(ctx, own("many", 0), http.StatusNotFound); err != nil {
		return err
	}
	return b.answers(ctx, own("many", b.Routes-1), http.StatusNotFound)
}
