package stories

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// canaryRoute has a rule for everybody, and after it one that takes the same.
const canaryRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{kind: Service, group: "", name: app, port: 80}]
  rules:
  - name: all
    backendRefs: [{name: app, port: 80}]
  - name: canary
    backendRefs: [{name: canary, port: 80}]
`

const canaryPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: testers}
spec:
  targetRefs: [{kind: HTTPRoute, name: app, sectionName: canary}]
  match: {from: [{namespace: $NAMESPACE, serviceAccount: $ACCOUNT}]}
`

// TestRulesForSomeCallers: a rule that a policy narrows takes the requests of one caller, then of another one, then of
// neither, while the first one calls and calls, and no call fails. A header that an app sets makes it nobody else.
func TestRulesForSomeCallers(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "callers")
	echo(t, s, "app", "declared", "{}")
	echo(t, s, "canary", "declared", "{}")
	for _, name := range []string{"caller", "tester"} {
		caller(t, s, name, false)
	}
	s.Rollout("app")
	s.Rollout("canary")
	from, tester := s.Caller("caller"), s.Caller("tester")
	app, canary := s.Pod("app").Name, s.Pod("canary").Name
	request := call.Request{Protocol: call.HTTP, Address: at("app", 80), Headers: map[string]string{"x-weft-caller": s.Namespace + "/tester"}}
	reaches := func(c *stage.Caller, pod string) {
		t.Helper()
		c.Answered(request, func(o call.Outcome) error {
			if o.Answer.Pod != pod {
				return fmt.Errorf("pod %s has answered %s, want %s", o.Answer.Pod, c.Pod.Name, pod)
			}
			return nil
		})
	}
	s.Apply(canaryRoute)
	reaches(from, app)
	throughout(t, from, request, func() {
		for _, narrowed := range []struct{ account, from, tester string }{
			{"tester", app, canary}, {"caller", canary, app}, {"nobody", app, app},
		} {
			s.Step("the canary is for %s", narrowed.account)
			s.Apply(strings.ReplaceAll(canaryPolicy, "$ACCOUNT", narrowed.account))
			s.Holds("testers")
			reaches(from, narrowed.from)
			reaches(tester, narrowed.tester)
		}
		s.Remove(strings.ReplaceAll(canaryPolicy, "$ACCOUNT", "nobody"))
		s.Remove(canaryRoute)
		reaches(tester, app)
	})
}
