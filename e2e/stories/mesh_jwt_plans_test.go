package stories

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/e2e/call"
)

// plans has who is of plan gold served by other pods, and a fault for who is of plan slow. Policies come first.
const plans = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: gold}
spec:
  targetRefs: [{kind: HTTPRoute, name: plans, sectionName: gold}]
  match: {claims: [{path: [plan], values: [gold]}]}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: slow}
spec:
  targetRefs: [{kind: HTTPRoute, name: plans}]
  fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}, claims: [{path: [plan], values: [slow]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plans}
spec:
  parentRefs: [{name: front}, {kind: Service, group: "", name: echo, port: 80}]
  hostnames: [echo.test]
  rules:
  - name: all
    matches: [{method: GET}] # before that of the other route
    backendRefs: [{name: echo, port: 80}]
  - name: gold
    matches: [{method: GET}]
    backendRefs: [{name: gold, port: 80}]
`

// fewOfAPlan lets through at each of the Gateway's proxies, of which there are two at most, three requests of a plan.
const fewOfAPlan = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: few}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: front}]
  rateLimit: {local: {limits: [{requests: 3, per: 1h, by: [{type: Claim, claim: [plan]}]}]}}
`

// limits has a plan's requests be limited at the Gateway, and nobody else's.
func (c *tokens) limits(good string) {
	c.t.Helper()
	c.Apply(fewOfAPlan)
	c.Holds("few")
	passed, send := 0, c.ways()["by the Gateway"]
	for _, token := range slices.Repeat([]string{c.mint(map[string]any{"plan": "few"})}, 12) {
		switch out := send(token); out.Status {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
		default:
			c.t.Errorf("a request of plan few is answered %d %s", out.Status, out.Failed)
		}
	}
	if passed < 3 || passed > 6 {
		c.t.Errorf("of 12 requests of a plan %d passed, want 3 for each proxy", passed)
	}
	for _, token := range []string{c.mint(map[string]any{"plan": "many"}), good} {
		if out := send(token); out.Status != http.StatusOK {
			c.t.Errorf("a request of another plan, or of none, is answered %d %s", out.Status, out.Failed)
		}
	}
	c.Remove(fewOfAPlan)
	c.Step("of 12 requests of a plan that is limited %d passed", passed)
}

// routes asks with tokens of several plans, while it comes to matter and while it comes to matter no more.
func (c *tokens) routes(good string) {
	c.t.Helper()
	gold, echo := c.Pod("gold").Name, c.Pod("echo").Name
	token, slow := c.mint(map[string]any{"plan": "gold"}), c.mint(map[string]any{"plan": "slow"})
	by := func(token string, status int, pod string) {
		c.t.Helper()
		c.comes(token, fmt.Sprintf("pod %q answers %d", pod, status), func(out call.Outcome) bool { return out.Status == status && out.Answer.Pod == pod })
	}
	c.held(good, func() {
		c.Apply(plans)
		c.Holds("gold")
		c.Holds("slow")
		by(token, 200, gold)
		by(slow, 418, "")
		by(good, 200, echo)
		c.is("without a signature of its own", token[:strings.LastIndex(token, ".")]+good[strings.LastIndex(good, "."):], 401)
		c.is("of another issuer's plan", c.mint(map[string]any{"plan": "slow", "iss": "http://other"}), 401)
		c.Remove(plans)
		by(token, 200, echo)
		by(slow, 200, echo)
		c.limits(good)
	})
	c.Step("a plan in a token says who serves it")
}
