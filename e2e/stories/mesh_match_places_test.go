package stories

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// stickyRoute is canaryRoute with a canary that has weights and keeps sessions.
var stickyRoute = strings.Replace(canaryRoute, "backendRefs: [{name: canary, port: 80}]", `sessionPersistence: {type: Header, sessionName: x-session}
    backendRefs: [{name: canary, port: 80, weight: 50}, {name: canary-too, port: 80, weight: 50}]`, 1)

// TestRulesForSomeRequests: a rule is narrowed by the Node of the caller, by an expression, by both and by one that is
// no expression, while an app calls and calls, and no call fails. Of what it takes, by weights, sessions stay.
func TestRulesForSomeRequests(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "expressions")
	for _, name := range []string{"app", "canary", "canary-too"} {
		echo(t, s, name, "declared", "{}")
	}
	caller(t, s, "caller", false)
	for _, name := range []string{"app", "canary", "canary-too"} {
		s.Rollout(name)
	}
	from, app := s.Caller("caller"), s.Pod("app").Name
	canaries := s.Pod("canary").Name + " " + s.Pod("canary-too").Name
	node := from.Pod.Spec.NodeName
	plain := call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	gold := plain
	gold.Headers = map[string]string{"x-plan": "gold"}
	reaches := func(r call.Request, pods string) {
		t.Helper()
		from.Answered(r, func(o call.Outcome) error {
			if !strings.Contains(pods, o.Answer.Pod) {
				return fmt.Errorf("pod %s has answered, want %s", o.Answer.Pod, pods)
			}
			return nil
		})
	}
	s.Apply(narrowed(`{cel: "false"}`))
	s.Apply(stickyRoute)
	s.Holds("some")
	reaches(gold, app)
	throughout(t, from, gold, func() {
		for _, c := range []struct{ match, gold, plain string }{
			{`{nodeSelector: {matchLabels: {kubernetes.io/hostname: $NODE}}}`, canaries, canaries},
			{`{nodeSelector: {matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [$NODE]}]}}`, app, app},
			{`{cel: "request.headers['x-plan'] == 'gold'"}`, canaries, app},
			{`{nodeSelector: {matchLabels: {kubernetes.io/hostname: elsewhere}}, cel: "request.headers['x-plan'] == 'gold'"}`, app, app},
			{`{cel: "request.headers['x-plan'] != 'gold' && caller.namespace == '$NAMESPACE'"}`, app, app},
			{`{nodeSelector: {matchLabels: {kubernetes.io/hostname: $NODE}}, cel: "'x-plan' in request.headers && caller.serviceAccount == 'caller'"}`, canaries, app},
		} {
			s.Step("the canary is for %s", c.match)
			s.Apply(narrowed(strings.ReplaceAll(c.match, "$NODE", node)))
			s.Holds("some")
			reaches(gold, c.gold)
			reaches(plain, c.plain)
		}
		keepsSession(t, from, gold)
		s.Step("an expression that is none is for nobody")
		s.Apply(narrowed(`{cel: "request.plan == 'gold'"}`))
		reaches(gold, app)
	})
}

// keepsSession looks that requests by weights stay with the pod that has their session.
func keepsSession(t *testing.T, from *stage.Caller, r call.Request) {
	t.Helper()
	var mine, session string
	from.Answered(r, func(o call.Outcome) error {
		if mine, session = o.Answer.Pod, o.Header.Get("x-session"); session == "" {
			return fmt.Errorf("pod %s has answered without a session", mine)
		}
		return nil
	})
	kept := r
	kept.Headers = map[string]string{"x-session": session}
	for name, value := range r.Headers {
		kept.Headers[name] = value
	}
	for range 20 {
		o := from.Call(kept)
		if err := o.Err(); err != nil || o.Answer.Pod != mine {
			t.Fatalf("a session of pod %s is with pod %s: %v", mine, o.Answer.Pod, err)
		}
	}
}
