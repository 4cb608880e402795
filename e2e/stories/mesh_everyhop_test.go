package stories

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
)

// everyHop is the fourth way to let a caller in: the Gateway ends TLS and asks for a token, and so does each app behind
// it, which also goes by who hands the token on.
const everyHop = `
# The Gateway: people with a token, and what they may do at all.
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: people}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  jwt: {providers: [$PROVIDER]}
  authorization:
    roles:
    - name: reader
      may: [{methods: [GET]}]
      heldBy: [{jwt: {groups: [readers]}}]
    - name: clerk
      may: [{methods: [GET, POST]}]
      heldBy: [{jwt: {groups: [clerks]}}]
---
# The first app is called by the Gateway alone.
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: echo}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  jwt: {providers: [$PROVIDER]}
  authorization:
    rules:
    - name: by-the-gateway
      from: [{gateway: {namespace: $NAMESPACE, name: front}}]
---
# The second one is called by the first one alone: by people for what is theirs, by clerks of the same tenant for all.
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: next}
spec:
  targetRefs: [{kind: Service, name: next, port: 80}]
  jwt: {providers: [$PROVIDER]}
  authorization:
    rules:
    - name: own
      from: [{serviceAccount: {namespace: $NAMESPACE, name: echo}}]
      to: [{methods: [GET], paths: [{template: "/orders/{customer}/{rest...}"}]}]
      when: [{attribute: "request.segments[1]", operator: In, attributes: [jwt.subject]}]
    - name: clerks
      from: [{serviceAccount: {namespace: $NAMESPACE, name: echo}}]
      to: [{paths: [{prefix: /orders}]}]
      when:
      - {attribute: "jwt.claims[groups]", operator: In, values: [clerks]}
      - {attribute: "jwt.claims[tenant]", operator: In, attributes: [destination.namespace]}
    - name: nothing-is-deleted
      action: Deny
      to: [{methods: [DELETE]}]
`

const keysOfNobody = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: first}
spec:
  targetRefs: [{kind: ServiceAccount, name: nobody}]
  jwt: {providers: [$PROVIDER]}
`

// hops is that story.
type hops struct {
	*doors
	login    tokens
	policies string
	first    string // about nobody, so that the keys are there when they are asked for
}

// TestEveryHopChecks has a person's token verified at the Gateway and at each app behind it, with roles at the Gateway,
// and with what relates the request, the token and the app that is called at the last hop; each hop goes by the mTLS
// identity of who calls too, so that a good token in the wrong hands opens nothing. Policies come, and change, and fail
// no request that they allow.
func TestEveryHopChecks(t *testing.T) {
	h := openHops(t)
	own := "/via/next:80/orders/ann/7"
	ann, carl := h.person("ann", "readers", h.Namespace), h.person("carl", "clerks", h.Namespace)
	h.Apply(h.first)
	h.Holds("first")
	h.held(own, ann, func() {
		h.Apply(h.policies)
		for _, name := range []string{"people", "echo", "next"} {
			h.Holds(name)
		}
	})
	out := h.visited(endedHost, own, bearer(ann))
	if !strings.HasPrefix(out.Answer.Pod, "next-") || out.Answer.Headers.Get("Authorization") != "Bearer "+ann {
		t.Errorf("%s answered, and saw the token %q", out.Answer.Pod, out.Answer.Headers.Get("Authorization"))
	}
	h.from(out, identity(h.Scene, "echo"))
	others := "/via/next:80/orders/bob/7"
	for _, c := range []struct {
		what, method, path, token string
		status                    int
	}{
		{"her own order", "GET", own, ann, 200}, {"another's order", "GET", others, ann, 403}, {"a reader who writes", "POST", own, ann, 403}, {"the first app by itself", "GET", "/", ann, 200},
		{"a clerk", "POST", others, carl, 200}, {"a clerk of another tenant", "GET", others, h.person("dan", "clerks", "another"), 403}, {"a clerk who deletes", "DELETE", others, carl, 403},
		{"nobody", "GET", own, "", 401}, {"somebody of no group", "GET", own, h.person("ann", "guests", h.Namespace), 403},
		{"an expired token", "GET", own, h.login.mint(map[string]any{"sub": "ann", "groups": []string{"readers"}, "exp": time.Now().Add(-time.Hour).Unix()}), 401},
		{"a token for others", "GET", own, h.login.mint(map[string]any{"sub": "ann", "groups": []string{"readers"}, "aud": []string{"bank"}}), 403},
	} {
		if out, err := h.sends(t.Context(), c.method, endedHost, c.path, bearer(c.token)); err != nil || out.Status != c.status {
			t.Errorf("%s, %s %s: %d (%v), want %d", c.what, c.method, c.path, out.Status, err, c.status)
		}
	}
	h.wrongHands(carl)
	h.held(own, ann, func() {
		h.Apply(strings.Replace(h.policies, "methods: [GET, POST]}]", "methods: [GET, POST, PUT]}]", 1))
		h.Holds("people")
		h.Apply(strings.Replace(h.policies, "prefix: /orders}", "prefix: /orders}, {exact: /invoices}", 1))
		h.Holds("next")
	})
}

func openHops(t *testing.T) *hops {
	t.Helper()
	d := openDoors(t, "every-hop")
	op, issuer := provider(t, d.Scene)
	caller(t, d.Scene, "foe", false)
	op.Rollout("provider")
	d.Rollout("foe")
	h := &hops{doors: d, login: tokens{Scene: d.Scene, t: t, from: d.Caller("foe"), provider: op.Pod("provider").Status.PodIP}}
	h.login.claims = map[string]any{"iss": issuer, "aud": []string{"shop"}}
	says := fmt.Sprintf("{name: login, issuer: %q, audiences: [shop], forward: true, jwks: {remote: {uri: %q, refresh: %s}}}", issuer, issuer+"/keys", refresh)
	h.policies = strings.NewReplacer("$PROVIDER", says, "$NAMESPACE", d.Namespace).Replace(everyHop)
	h.first = strings.ReplaceAll(keysOfNobody, "$PROVIDER", says)
	h.visited(endedHost, "/via/next:80/", nil)
	return h
}

func bearer(token string) map[string]string {
	if token == "" {
		return nil
	}
	return map[string]string{"Authorization": "Bearer " + token}
}

func (h *hops) person(name, group, tenant string) string {
	h.t.Helper()
	return h.login.mint(map[string]any{"sub": name, "groups": []string{group}, "tenant": tenant})
}

// wrongHands has a pod in the mesh that got hold of a good token, and somebody outside of it, call the apps directly.
func (h *hops) wrongHands(token string) {
	h.t.Helper()
	for _, address := range []string{"echo:80", "next:80"} {
		r := call.Request{Protocol: call.HTTP, Address: address, Path: "/orders/carl/7", Headers: bearer(token)}
		if out := h.login.from.Call(r); out.Status != http.StatusForbidden {
			h.t.Errorf("a foe with a good token at %s: %+v", address, out)
		}
	}
	outside := call.Request{Protocol: call.HTTP, Address: at(h.Pod("next").Status.PodIP, 8080), Path: "/orders/carl/7", Headers: bearer(token)}
	if out := call.Do(h.t.Context(), outside); out.Failed == "" && out.Status != http.StatusForbidden { // by the chain of the kubelet's probes
		h.t.Errorf("somebody outside of the mesh with a good token: %+v", out)
	}
}

// held visits and visits while something is done, and wants no visit to fail.
func (h *hops) held(path, token string, do func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	failed := make(chan []string, 1)
	visits := 0
	go func() {
		var all []string
		for ctx.Err() == nil {
			if out, err := h.visit(h.t.Context(), endedHost, path, bearer(token)); err != nil || out.Status != http.StatusOK {
				all = append(all, fmt.Sprint(out.Status, err))
			}
			visits++
		}
		failed <- all
	}()
	do()
	cancel()
	if all := <-failed; len(all) > 0 {
		h.t.Errorf("%d of %d visits failed: %v", len(all), visits, all[:min(len(all), 3)])
	}
	h.t.Logf("%d visits", visits)
}
