package stories

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/jwttest"
)

const triedOfEcho = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: requests}
spec:
  mode: $MODE
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rules:
    - name: friend-reads
      from: [{serviceAccount: {namespace: $NAMESPACE, name: friend}}]
      to: [{methods: [GET], paths: [{prefix: /open}]}]
    - name: no-secrets
      action: Deny
      to: [{paths: [{prefix: /open/secret}]}]
`

const triedOfBytes = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: bytes}
spec:
  mode: $MODE
  targetRefs: [{kind: Service, name: echo, port: 9000}]
  authorization: {rules: [{name: friend, from: [{serviceAccount: {namespace: $NAMESPACE, name: friend}}]}]}
`

const triedTokens = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: tokens}
spec:
  mode: Shadow
  targetRefs: [{kind: Service, name: echo, port: 80}]
  jwt: {providers: [{name: it, issuer: "https://id.test", jwks: {inline: '$KEYS'}}]}
`

// tried is the story of an app about which policies are in Shadow.
type tried struct {
	lawful
	conversation *conversation
}

// TestAuthorizationShadow tries policies out on an app that a friend and a foe call: both are answered as before, and
// what the policies would refuse is counted, by policy and caller. From Shadow to Enforce and back, again and again, no
// call of the friend fails, and the foe's only as the policy says.
func TestAuthorizationShadow(t *testing.T) {
	c := newConversation(t, "authorization-shadow")
	s := tried{lawful{Scene: c.Scene, t: t}, c}
	echo(t, s.Scene, "echo", "declared", "{}")
	caller(t, s.Scene, "friend", false)
	caller(t, s.Scene, "foe", false)
	s.Rollout("echo")
	s.friend, s.foe = s.Caller("friend"), s.Caller("foe")
	for _, who := range []*stage.Caller{s.friend, s.foe} {
		who.Answered(asks("echo", "/open"), nil)
	}
	throughout(t, s.friend, asks("echo", "/open/a"), func() {
		s.mode(triedOfEcho, "Shadow", "requests")
		s.mode(triedOfBytes, "Shadow", "bytes")
		s.counted()
		s.switched()
	})
	s.tokens()
	s.Remove(s.in(triedOfBytes, "Shadow"))
	s.Remove(s.in(triedOfEcho, "Shadow"))
}

func (s tried) in(policy, mode string) string {
	return s.text(strings.ReplaceAll(policy, "$MODE", mode))
}

func (s tried) mode(policy, mode, name string) {
	s.t.Helper()
	s.Apply(s.in(policy, mode))
	if s.Holds(name); mode == "Shadow" {
		s.conversation.tellsWhere(name)
	}
}

// counted has both call, who would be refused too.
func (s tried) counted() {
	s.t.Helper()
	const n = 5
	bytes := call.Request{Protocol: call.TCP, Address: "echo:9000"}
	for range n {
		s.answers(s.foe, asks("echo", "/open/a"), 200)
		s.answers(s.friend, asks("echo", "/open/secret"), 200)
		s.answers(s.friend, asks("echo", "/open/..;/a"), 200)
		s.foe.Answered(bytes, nil)
	}
	of := func(policy, who, port string) stage.Labels {
		return stage.Labels{"section": "authorization", "policy": s.Namespace + "/" + policy, "reporter": "destination", "source_principal": identity(s.Scene, who),
			"destination_principal": identity(s.Scene, "echo"), "destination_service_namespace": s.Namespace, "destination_service_name": "echo", "destination_port": port}
	}
	app := s.Pod("echo")
	s.conversation.wouldDeny(app, n, of("requests", "foe", "80"))
	s.conversation.wouldDeny(app, 2*n, of("requests", "friend", "80"))
	s.conversation.wouldDeny(app, n, of("bytes", "foe", "9000"))
	s.conversation.wouldDeny(app, 4*n, nil)
}

// switched has the policy enforced and tried out in turn.
func (s tried) switched() {
	s.t.Helper()
	for range stage.Size(4, 40) {
		s.mode(triedOfEcho, "Enforce", "requests")
		s.answers(s.foe, asks("echo", "/open/a"), 403)
		s.answers(s.friend, asks("echo", "/open/secret"), 403)
		s.mode(triedOfEcho, "Shadow", "requests")
		s.answers(s.foe, asks("echo", "/open/a"), 200)
		s.answers(s.friend, asks("echo", "/open/secret"), 200)
	}
}

// tokens are demanded in Shadow: who has none is answered, and counted.
func (s tried) tokens() {
	s.t.Helper()
	key := jwttest.NewKey(s.t, "a", "ES256")
	policy := strings.ReplaceAll(triedTokens, "$KEYS", jwttest.Set(key))
	s.Apply(policy)
	s.Holds("tokens")
	s.conversation.tellsWhere("tokens")
	labels := stage.Labels{"section": "jwt", "policy": s.Namespace + "/tokens", "source_principal": identity(s.Scene, "foe")}
	for token, n := range map[string]float64{"x": 1, key.Token(jwttest.Claims{"iss": "https://id.test", "sub": "ann"}): 0} {
		r := asks("echo", "/open/a")
		r.Headers = map[string]string{"Authorization": "Bearer " + token}
		before := s.Scrape(s.Pod("echo")).Sum("envoy_"+shadowDenied, labels)
		s.answers(s.foe, r, 200)
		s.conversation.wouldDeny(s.Pod("echo"), before+n, labels)
	}
	s.Remove(policy)
}
