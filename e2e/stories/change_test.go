package stories

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// change is the story of a shop that changes in every way while people buy.
type change struct {
	*stage.Scene
	t       *testing.T
	gateway *stage.Gateway
	ca      *stage.Authority
	plain   *load.Load
	secure  *load.Load
}

// patience for one rollout on a busy machine.
const rollout = 4 * time.Minute

// TestNoErrorsOnChange holds 300 requests per second, a third of them over TLS and half of them
// POSTs, while everything changes. No request fails and no order runs twice.
func TestNoErrorsOnChange(t *testing.T) {
	c := &change{Scene: stage.New(t, "change"), t: t, ca: stage.NewAuthority(t)}
	c.setUp()
	c.plain = load.Start(load.Target{Address: c.gateway.At(80), Host: "shop.test"}, 200)
	c.secure = load.Start(load.Target{Address: c.gateway.At(443), Host: "shop.test", TLS: c.ca.Client("shop.test")}, 100)
	stopped := false
	stop := func() []load.Result {
		stopped = true
		return slices.Concat(c.plain.Stop(), c.secure.Stop())
	}
	t.Cleanup(func() {
		if !stopped {
			stop() // a step failed the test
		}
	})
	c.play()
	judge(t, c.Scene, "300 requests per second, open loop, never retried by the client", stop())
}

func (c *change) setUp() {
	c.t.Helper()
	c.certificate(c.ca.Leaf("shop.test"))
	c.Apply(manifest(c.t, "ledger.yaml"))
	c.Rollout("ledger")
	backend(c.t, c.Scene, "polite", "drain", "ledger", 2)
	backend(c.t, c.Scene, "abrupt", "exit", "ledger", 2)
	c.weights(50)
	c.Rollout("polite", "abrupt")
	c.gateway = c.Gateway("front")
	c.gateway.Answers(time.Minute, "shop.test", "/api/goods", 200)
	c.serves(c.ca.Leaf("unused").Serial, false)
}

func (c *change) play() {
	rolls := stage.Size(1, 2)
	c.step("nothing changes", func() {})
	c.step("routes added and removed", func() { c.routes(stage.Size(60, 200)) })
	c.step("weights changed", func() {
		for i := range stage.Size(20, 50) {
			c.weights(10 + i*37%81)
			c.hold(30)
		}
		c.weights(50)
	})
	c.step("backend that drains rolled", func() { c.roll(c.Namespace, "polite", rolls) })
	c.step("backend that exits rolled", func() { c.roll(c.Namespace, "abrupt", rolls) })
	c.step("certificate replaced", func() {
		for range stage.Size(2, 10) {
			leaf := c.ca.Leaf("shop.test")
			c.certificate(leaf)
			c.serves(leaf.Serial, true)
			c.hold(150)
		}
	})
	c.step("operator restarted", func() { c.roll(stage.System, stage.Operator, 1); c.routes(3) })
	c.step("operator killed", func() {
		c.must(c.Kill(c.t.Context(), stage.System, stage.Operator, rollout))
		c.routes(3)
	})
	c.step("Envoy rolled", func() { c.roll(c.Namespace, c.proxies(), rolls) })
	c.step("nothing changes any more", func() {})
}

// step plays one change under load, and holds the load for a while after it.
func (c *change) step(name string, do func()) {
	c.t.Helper()
	c.Step("%s", name)
	c.plain.Step(name)
	c.secure.Step(name)
	do()
	c.hold(stage.Size(1500, 6000))
}

// hold lets at least n more requests pass.
func (c *change) hold(n int) {
	c.t.Helper()
	sent := c.plain.Sent() + c.secure.Sent()
	c.Until(2*time.Minute, fmt.Sprintf("%d requests pass", n), func(context.Context) error {
		if more := c.plain.Sent() + c.secure.Sent() - sent; more < n {
			return fmt.Errorf("%d have passed", more)
		}
		return nil
	})
}

func (c *change) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// weights gives the polite backend a share in percent, the abrupt one the rest.
func (c *change) weights(polite int) {
	c.t.Helper()
	c.Apply(manifest(c.t, "change.yaml", "$POLITE", strconv.Itoa(polite), "$ABRUPT", strconv.Itoa(100-polite)))
}

// routes adds n routes, half of them on the shop's own hostname, waits until the last of each half
// serves, removes all and waits until both are gone.
func (c *change) routes(n int) {
	c.t.Helper()
	var text string
	for i := range n {
		text += fmt.Sprintf(extraRoute, i, extraHost(i), i, i)
	}
	c.Apply(text)
	c.routed(n-1, strconv.Itoa(n-1))
	c.routed(n-2, strconv.Itoa(n-2))
	c.Remove(text)
	c.routed(n-1, "")
	c.routed(n-2, "")
}

func extraHost(i int) string {
	if i%2 == 0 {
		return "shop.test"
	}
	return fmt.Sprintf("extra-%d.test", i)
}

// routed waits until extra route i marks its requests with mark; none when it is gone.
func (c *change) routed(i int, mark string) {
	c.t.Helper()
	c.Until(time.Minute, fmt.Sprintf("extra route %d marks its requests %q", i, mark), func(ctx context.Context) error {
		a, err := c.gateway.Get(ctx, extraHost(i), fmt.Sprintf("/extra/%d", i))
		if err == nil && a.Headers.Get("X-Extra") != mark {
			err = fmt.Errorf("status %d, mark %q", a.Status, a.Headers.Get("X-Extra"))
		}
		return err
	})
}

// extraRoute marks its requests, which the shop shows in its answers.
const extraRoute = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: extra-%d
spec:
  parentRefs: [{name: front, sectionName: http}]
  hostnames: [%s]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /extra/%d}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: X-Extra, value: "%d"}]
    backendRefs:
    - {name: polite, port: 80}
`

func (c *change) roll(namespace, name string, times int) {
	c.t.Helper()
	for range times {
		c.must(c.Stage.Roll(c.t.Context(), namespace, name, rollout))
	}
}

// proxies is the name of the Deployment that Weft made for the Gateway.
func (c *change) proxies() string {
	c.t.Helper()
	var all appsv1.DeploymentList
	c.must(c.List(c.t.Context(), &all, client.InNamespace(c.Namespace),
		client.MatchingLabels{"gateway.networking.k8s.io/gateway-name": "front"}))
	if len(all.Items) != 1 {
		c.t.Fatalf("%d Deployments are labelled with Gateway front, want 1", len(all.Items))
	}
	return all.Items[0].Name
}

// certificate writes the shop's TLS Secret.
func (c *change) certificate(leaf stage.Leaf) {
	c.t.Helper()
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		corev1.TLSCertKey: leaf.Certificate, corev1.TLSPrivateKeyKey: leaf.Key}}
	secret.Namespace, secret.Name = c.Namespace, "shop-certificate"
	err := c.Create(c.t.Context(), secret)
	if err != nil {
		err = c.Update(c.t.Context(), secret)
	}
	c.must(err)
}

// serves waits until new TLS connections get the certificate with this serial, or any other.
func (c *change) serves(serial string, this bool) {
	c.t.Helper()
	c.Until(time.Minute, "HTTPS serves with certificate "+serial, func(ctx context.Context) error {
		a, err := c.gateway.GetTLS(ctx, "shop.test", "/api/goods", c.ca.Client("shop.test"))
		if err == nil && (a.Status != 200 || (a.Serial == serial) != this) {
			err = fmt.Errorf("it answers %d with certificate %s", a.Status, a.Serial)
		}
		return err
	})
}

// judge prints the table and fails the test for every request that failed.
func judge(t *testing.T, s *stage.Scene, headline string, results []load.Result) {
	t.Helper()
	book := readLedger(t, s)
	t.Logf("%s\n%s", headline, load.Print(load.Table(results, book.abandoned)))
	failures := load.Failures(results, book.abandoned)
	for i, r := range failures {
		if i == 50 {
			t.Errorf("… and %d more", len(failures)-i)
			break
		}
		t.Errorf("%s %s %s (%s) after %s: %s", r.Due.UTC().Format("15:04:05.000"), r.Method, r.ID, r.Step, r.Took, r.Failed)
	}
	if len(failures) > 0 {
		testimony(t, s)
	}
	book.check(t, results)
}

// testimony shows what the scene's sidecars and the operator logged last: flags and hosts of what was not answered.
func testimony(t *testing.T, s *stage.Scene) {
	t.Helper()
	var all corev1.PodList
	must(t, s.List(t.Context(), &all, client.InNamespace(s.Namespace)))
	for _, pod := range slices.DeleteFunc(all.Items, func(p corev1.Pod) bool { return !sidecar.Injected(&p) }) {
		t.Logf("%s at %v since %s:\n%s", pod.Name, pod.Status.PodIPs, pod.CreationTimestamp.UTC().Format(time.TimeOnly),
			last(30, s.Log(pod, sidecar.ProxyContainer)))
	}
	pods, err := operatorPods(t.Context(), s.Stage)
	must(t, err)
	for _, pod := range pods {
		t.Logf("%s:\n%s", pod.Name, last(30, s.Log(pod, "operator")))
	}
}

// last are that many lines of a text.
func last(n int, text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
