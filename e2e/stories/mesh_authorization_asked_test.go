package stories

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const askingModule = `
apiVersion: v1
kind: ConfigMap
metadata: {name: law}
data:
  echo.rego: |
    package weft.v1

    allow if input.request.path == "/open"

    allow if {
        input.source.service_account == "friend"
        count(input.request.segments) == 2
        lower(input.request.headers["x-team"]) == "payments"
    }

    deny if {
        startswith(input.request.path, "/teams/")
        lower(input.request.path) == "/teams/$CLOSED"
    }
`

// TestAuthorizationAsked has OPA asked what Envoy does not decide of a module. While there is no weft authz, the policy says so
// and refuses whom it would be asked about, and nobody else. Once there is, the answers are the module's; while that
// changes, and weft authz is started anew, no request fails of who may make it; and when it is gone, all is as before.
func TestAuthorizationAsked(t *testing.T) {
	l := newLawful(t, "authorization-asked")
	steady(t, l.Scene, 2*time.Minute)
	l.closed("nobody")
	l.Apply(lawInRego)
	l.PolicySays("in-rego", "ServerUnavailable", "no pod of that is ready in weft-system: install it with dist/authz.yaml")
	asked := l.with("/teams/a", "x-team", "Payments")
	becomes(l.Scene, l.friend, asks("echo", "/open"), 200)
	becomes(l.Scene, l.foe, asks("echo", "/open"), 200)
	for range 20 {
		l.answers(l.friend, asked, 403)
		l.answers(l.foe, asked, 403)
	}

	installAuthz(t, l.Scene)
	l.Holds("in-rego")
	becomes(l.Scene, l.friend, asked, 200)
	for _, c := range []struct {
		who    *stage.Caller
		asks   call.Request
		status int
	}{
		{l.foe, asked, 403}, {l.friend, l.with("/teams/a", "x-team", "sales"), 403}, {l.friend, asks("echo", "/teams/a"), 403}, {l.friend, l.with("/teams/a/b", "x-team", "payments"), 403},
		{l.friend, l.with("/Teams/b?x=1", "x-team", "PAYMENTS"), 200}, {l.friend, l.with("/teams/Nobody", "x-team", "payments"), 403}, {l.foe, asks("echo", "/open"), 200},
	} {
		l.answers(c.who, c.asks, c.status)
	}

	throughout(t, l.friend, asked, func() {
		for i := range stage.Size(4, 40) {
			team := fmt.Sprint("team-", i)
			l.answers(l.friend, l.with("/teams/Team-"+fmt.Sprint(i), "x-team", "payments"), 200)
			l.closed(team)
			becomes(l.Scene, l.friend, l.with("/teams/Team-"+fmt.Sprint(i), "x-team", "payments"), 403)
		}
	})
	throughout(t, l.friend, asked, func() {
		for range stage.Size(1, 5) {
			l.kubectl("rollout", "restart", "deployment/weft-authz")
			l.kubectl("rollout", "status", "deployment/weft-authz", "--timeout=3m")
		}
	})
	throughout(t, l.foe, asks("echo", "/open"), func() {
		l.kubectl("scale", "deployment/weft-authz", "--replicas=0")
		l.PolicySays("in-rego", "ServerUnavailable", "no pod of that is ready")
		becomes(l.Scene, l.friend, asked, 403)
	})
}

// closed applies the module, with a team that nobody may ask for.
func (l lawful) closed(team string) {
	l.t.Helper()
	l.Apply(strings.ReplaceAll(askingModule, "$CLOSED", team))
}

// kubectl is about what is in weft-system.
func (l lawful) kubectl(args ...string) {
	l.t.Helper()
	if _, err := l.Kubectl(l.t.Context(), append([]string{"-n", "weft-system"}, args...)...); err != nil {
		l.t.Fatal(err)
	}
}
