package stories

import (
	"fmt"
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

// narrowed has the canary take what a section match says.
func narrowed(match string) string {
	return `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: some}
spec:
  targetRefs: [{kind: HTTPRoute, name: app, sectionName: canary}]
  match: ` + match + "\n"
}

// ofAccount narrows to the pods of a ServiceAccount.
func ofAccount(name string) string {
	return narrowed("{from: [{namespace: $NAMESPACE, serviceAccount: " + name + "}]}")
}

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
		for _, c := range []struct{ account, from, tester string }{
			{"tester", app, canary}, {"caller", canary, app}, {"nobody", app, app},
		} {
			s.Step("the canary is for %s", c.account)
			s.Apply(ofAccount(c.account))
			s.Holds("some")
			reaches(from, c.from)
			reaches(tester, c.tester)
		}
		s.Remove(ofAccount("nobody"))
		s.Remove(canaryRoute)
		reaches(tester, app)
	})
}
