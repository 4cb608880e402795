package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// converges is the longest that a sibling of a bad object may take to serve.
const converges = 30 * time.Second

// badObject is one mistake: what is applied, what it must show, and how it answers requests.
type badObject struct {
	name     string
	file     string
	route    []stage.Condition
	listener gwv1.SectionName
	shows    []stage.Condition // of the listener
	gateway  []stage.Condition
	path     string // of a request on shop.test that meets the mistake; none if empty
	status   int
}

var badObjects = []badObject{
	{name: "unknown backend", file: "bad/unknown-backend.yaml", path: "/bad", status: 500,
		route: []stage.Condition{accepted, unresolved(gwv1.RouteReasonBackendNotFound, "spec.rules[0].backendRefs[0]", "nowhere")}},
	{name: "port that does not exist", file: "bad/unknown-port.yaml", path: "/bad", status: 500,
		route: []stage.Condition{accepted, unresolved(gwv1.RouteReasonBackendNotFound, "spec.rules[0].backendRefs[0]", "8181")}},
	{name: "missing grant", file: "bad/missing-grant.yaml", path: "/bad", status: 500,
		route: []stage.Condition{accepted, unresolved(gwv1.RouteReasonRefNotPermitted, "spec.rules[0].backendRefs[0]", "weft-system", "ReferenceGrant")}},
	{name: "invalid regular expression", file: "bad/invalid-regex.yaml",
		route: []stage.Condition{refused(gwv1.RouteReasonUnsupportedValue, "spec.rules[0].matches[0].path.value", "/bad/[a-")}},
	{name: "hostname that matches no listener", file: "bad/foreign-hostname.yaml",
		route: []stage.Condition{refused(gwv1.RouteReasonNoMatchingListenerHostname, "spec.hostnames", "front")}},
	{name: "certificate that does not parse", file: "bad/certificate.yaml", listener: "broken",
		shows: []stage.Condition{
			{Type: string(gwv1.ListenerConditionResolvedRefs), Status: metav1.ConditionFalse,
				Reason: string(gwv1.ListenerReasonInvalidCertificateRef), Message: []string{"broken-certificate", "certificateRefs[0]"}},
			{Type: string(gwv1.ListenerConditionProgrammed), Status: metav1.ConditionFalse}}},
	{name: "Secret of another type", file: "bad/opaque.yaml", listener: "opaque",
		shows: []stage.Condition{{Type: string(gwv1.ListenerConditionResolvedRefs), Status: metav1.ConditionFalse,
			Reason: string(gwv1.ListenerReasonInvalidCertificateRef), Message: []string{"opaque-certificate", "kubernetes.io/tls"}}}},
	{name: "slip in parameters", file: "bad/parameters.yaml",
		gateway: []stage.Condition{{Type: string(gwv1.GatewayConditionAccepted), Status: metav1.ConditionFalse,
			Reason: string(gwv1.GatewayReasonInvalidParameters), Message: []string{"ConfigMap", "slip", "spec.replica"}}}},
	{name: "two listeners in conflict", file: "bad/conflict.yaml", listener: "other",
		shows: []stage.Condition{{Type: string(gwv1.ListenerConditionConflicted), Status: metav1.ConditionTrue,
			Reason: string(gwv1.ListenerReasonProtocolConflict), Message: []string{"8080", "one"}}}},
}

var accepted = stage.Condition{Type: string(gwv1.RouteConditionAccepted), Status: metav1.ConditionTrue}

func unresolved(reason gwv1.RouteConditionReason, words ...string) stage.Condition {
	return stage.Condition{Type: string(gwv1.RouteConditionResolvedRefs), Status: metav1.ConditionFalse, Reason: string(reason), Message: words}
}

func refused(reason gwv1.RouteConditionReason, words ...string) stage.Condition {
	return stage.Condition{Type: string(gwv1.RouteConditionAccepted), Status: metav1.ConditionFalse, Reason: string(reason), Message: words}
}

// neighbourhood is a Gateway that serves under a light load while bad objects come and go.
type neighbourhood struct {
	*stage.Scene
	t        *testing.T
	gateway  *stage.Gateway
	siblings int
}

// TestOneBadObjectHarmsOnlyItself applies one mistake after another next to routes that work: those
// that exist keep serving, those that come later begin to, and the mistake says what it is.
func TestOneBadObjectHarmsOnlyItself(t *testing.T) {
	n := &neighbourhood{Scene: stage.New(t, "bad"), t: t}
	n.certificate(stage.NewAuthority(t).Leaf("shop.test"))
	backend(t, n.Scene, "shop", "drain", "", 1)
	n.Apply(manifest(t, "bad/front.yaml"))
	n.Rollout("shop")
	n.gateway = n.Gateway("front")
	n.sibling("front", "shop.test")
	before := load.Start(load.Target{Address: n.gateway.At(80), Host: "shop.test"}, 100)
	for _, bad := range badObjects {
		before.Step(bad.name)
		n.meets(bad)
		n.hold(before, 200)
	}
	before.Step("an object of 1 MB")
	n.bigObject()
	before.Step("many routes at once")
	n.manyRoutes(stage.Size(1000, 10000))
	results := before.Stop()
	t.Logf("the route that was there before, at 100 requests per second\n%s", load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
	}
}

func (n *neighbourhood) certificate(leaf stage.Leaf) {
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		corev1.TLSCertKey: leaf.Certificate, corev1.TLSPrivateKeyKey: leaf.Key}}
	secret.Namespace, secret.Name = n.Namespace, "good-certificate"
	if err := n.Create(n.t.Context(), secret); err != nil {
		n.t.Fatal(err)
	}
}

// meets applies one bad object, then siblings, and looks at all of them.
func (n *neighbourhood) meets(bad badObject) {
	n.t.Helper()
	text := manifest(n.t, bad.file)
	n.Apply(text)
	same, other := n.sibling("front", "shop.test"), n.sibling("front", fmt.Sprintf("after-%d.test", n.siblings))
	n.Step("%s: siblings that came after it serve within %s and %s", bad.name, same.Round(time.Millisecond), other.Round(time.Millisecond))
	switch {
	case bad.listener != "":
		n.ListenerShows("front", bad.listener, bad.shows...)
	case bad.gateway != nil:
		n.GatewayShows("front", bad.gateway...)
	default:
		n.RouteShows("bad", bad.route...)
	}
	if bad.path != "" {
		n.gateway.Answers(converges, "shop.test", bad.path, bad.status)
	}
	if bad.route != nil {
		n.Remove(text)
	}
	n.Apply(manifest(n.t, "bad/front.yaml"))
}

// hold lets n more requests pass while the mistake is there or has just gone.
func (n *neighbourhood) hold(l *load.Load, more int) {
	n.t.Helper()
	sent := l.Sent()
	n.Until(time.Minute, "requests pass", func(context.Context) error {
		if passed := l.Sent() - sent; passed < more {
			return fmt.Errorf("%d of %d have passed", passed, more)
		}
		return nil
	})
}

// sibling makes a good route on a hostname, under a path of its own except for the first, and returns
// the time until it serves.
func (n *neighbourhood) sibling(gateway, host string) time.Duration {
	n.t.Helper()
	path, probe := "/", "/api"
	if n.siblings > 0 {
		path = fmt.Sprintf("/sibling-%d", n.siblings)
		probe = path
	}
	n.Apply(fmt.Sprintf(siblingRoute, n.siblings, gateway, host, path, n.siblings))
	mark := fmt.Sprint(n.siblings)
	n.siblings++
	return n.Until(converges, fmt.Sprintf("sibling %s on %s serves", mark, host), func(ctx context.Context) error {
		a, err := n.gateway.Get(ctx, host, probe)
		if err == nil && a.Headers.Get("X-Sibling") != mark {
			err = fmt.Errorf("status %d, mark %q", a.Status, a.Headers.Get("X-Sibling"))
		}
		return err
	})
}

const siblingRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: sibling-%d
spec:
  parentRefs: [{name: %s}]
  hostnames: [%s]
  rules:
  - matches: [{path: {value: %s}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: X-Sibling, value: "%d"}]
    backendRefs: [{name: shop, port: 80}]
`

// TestARouteThatEnvoyRefuses makes Envoy itself refuse one of several routes that it gets together.
func TestARouteThatEnvoyRefuses(t *testing.T) {
	n := &neighbourhood{Scene: stage.New(t, "refused"), t: t}
	backend(t, n.Scene, "shop", "drain", "", 1)
	n.Apply(manifest(t, "bad/refused.yaml"))
	n.Rollout("shop")
	n.gateway = n.Gateway("strict")
	n.sibling("strict", "before.test")
	n.Apply(manifest(t, "bad/refused-routes.yaml"))
	same := n.gateway.Answers(converges, "shop.test", "/same", 200)
	other := n.gateway.Answers(converges, "other.test", "/", 200)
	after := n.sibling("strict", "shop.test")
	n.RouteShows("bad", refused(gwv1.RouteReasonUnsupportedValue, "refused", "regex"))
	n.RouteShows("same-host", accepted)
	n.RouteShows("other-host", accepted)
	t.Logf("siblings serve: on the same hostname after %s, on another after %s, a later one after %s", same, other, after)
	n.mend()
}

// mend corrects the refused route; it must serve without anything else being touched.
func (n *neighbourhood) mend() {
	n.t.Helper()
	text := manifest(n.t, "bad/refused-routes.yaml")
	n.Apply(strings.ReplaceAll(text, "/bad/[a-z]{60}/[0-9]{60}", "/bad/[a-z]+"))
	n.gateway.Answers(converges, "shop.test", "/bad/mended", 200)
	n.RouteShows("bad", accepted)
}
