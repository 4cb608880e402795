package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/stage"
)

// bigObject creates an HTTPRoute of 1 MB: the most matches that the API allows, each with long headers.
func (n *neighbourhood) bigObject() {
	n.t.Helper()
	route := n.route("big", "big.test")
	rule := route.Spec.Rules[0]
	route.Spec.Rules = nil
	for i := range 16 {
		for j := range 8 {
			rule.Matches = append(rule.Matches, longMatch(i*8+j))
		}
		route.Spec.Rules = append(route.Spec.Rules, rule)
		rule.Matches = nil
	}
	text, err := json.Marshal(route)
	if err != nil || len(text) < 1<<20 {
		n.t.Fatalf("the route has %d bytes (%v), want 1 MB", len(text), err)
	}
	if err := n.Create(n.t.Context(), route); err != nil {
		n.t.Fatal(err)
	}
	took := n.sibling("front", "after-big.test")
	n.RouteShows("big", accepted)
	n.Step("an object of %d bytes: a sibling that came after it serves within %s", len(text), took.Round(time.Millisecond))
	if err := n.Delete(n.t.Context(), route); err != nil {
		n.t.Fatal(err)
	}
}

// longMatch is a match of more than 8 kB.
func longMatch(i int) gwv1.HTTPRouteMatch {
	match := gwv1.HTTPRouteMatch{Path: &gwv1.HTTPPathMatch{
		Type: new(gwv1.PathMatchPathPrefix), Value: new(fmt.Sprintf("/big/%d", i))}}
	for _, name := range []string{"X-One", "X-Two"} {
		match.Headers = append(match.Headers, gwv1.HTTPHeaderMatch{
			Name: gwv1.HTTPHeaderName(name), Value: strings.Repeat("x", 4090)})
	}
	return match
}

// route is a route to the shop, not yet created.
func (n *neighbourhood) route(name, host string) *gwv1.HTTPRoute {
	route := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{
		Namespace: n.Namespace, Name: name, Labels: map[string]string{"story": "many"}}}
	route.Spec.ParentRefs = []gwv1.ParentReference{{Name: "front"}}
	route.Spec.Hostnames = []gwv1.Hostname{gwv1.Hostname(host)}
	backend := gwv1.HTTPBackendRef{}
	backend.Name, backend.Port = "shop", new(gwv1.PortNumber(80))
	route.Spec.Rules = []gwv1.HTTPRouteRule{{BackendRefs: []gwv1.HTTPBackendRef{backend}}}
	return route
}

// manyRoutes creates routes as fast as the API server takes them, and while Weft is at it a sibling.
func (n *neighbourhood) manyRoutes(count int) {
	n.t.Helper()
	start := time.Now()
	n.createAll(count)
	created := time.Since(start)
	took := n.sibling("front", "after-many.test")
	all := n.Until(stage.Size(3*time.Minute, 15*time.Minute), "all routes are accepted", func(ctx context.Context) error {
		if accepted := n.countAccepted(ctx); accepted < count {
			return fmt.Errorf("%d of %d are", accepted, count)
		}
		return nil
	})
	last := fmt.Sprintf("many-%d.test", count-1)
	serves := n.gateway.Answers(converges, last, "/", 200)
	n.Step("%d routes: created in %s, a sibling that came after them serves within %s, all accepted after %s more, the last serves after %s",
		count, created.Round(time.Millisecond), took.Round(time.Millisecond), all.Round(time.Millisecond), serves.Round(time.Millisecond))
	n.deleteAll()
	n.gateway.Answers(stage.Size(time.Minute, 5*time.Minute), last, "/", 404)
	n.sibling("front", "after-all.test")
}

// deleteAll asks again when the API server needs longer than it gives one request.
func (n *neighbourhood) deleteAll() {
	n.t.Helper()
	n.Until(10*time.Minute, "the many routes are deleted", func(ctx context.Context) error {
		return n.DeleteAllOf(ctx, &gwv1.HTTPRoute{}, client.InNamespace(n.Namespace), client.MatchingLabels{"story": "many"})
	})
}

func (n *neighbourhood) createAll(count int) {
	n.t.Helper()
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range numbers {
				if err := n.Create(n.t.Context(), n.route(fmt.Sprintf("many-%d", i), fmt.Sprintf("many-%d.test", i))); err != nil {
					n.t.Errorf("create route %d: %v", i, err)
				}
			}
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
}

func (n *neighbourhood) countAccepted(ctx context.Context) int {
	var list gwv1.HTTPRouteList
	if err := n.List(ctx, &list, client.InNamespace(n.Namespace), client.MatchingLabels{"story": "many"}); err != nil {
		return 0
	}
	count := 0
	for _, route := range list.Items {
		for _, parent := range route.Status.Parents {
			if meta.IsStatusConditionTrue(parent.Conditions, string(gwv1.RouteConditionAccepted)) {
				count++
			}
		}
	}
	return count
}
