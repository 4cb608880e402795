package stories

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/jwttest"
)

const lawOfEcho = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: requests}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rules:
    - name: friend-reads
      from: [{serviceAccount: {namespace: $NAMESPACE, name: friend}}]
      to: [{methods: [GET], paths: [{prefix: /open}]}]
    - name: friend-passes
      from: [{serviceAccount: {namespace: $NAMESPACE, name: friend}}]
      to: [{headers: [{name: x-pass, values: ["yes", please]}]}]
    - name: own-things
      when: [{attribute: "request.segments[1]", operator: In, attributes: [jwt.subject]}]
    - name: no-secrets
      action: Deny
      to: [{paths: [{prefix: /open/secret}]}]
`

const lawOfBytes = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: bytes}
spec:
  targetRefs: [{kind: Service, name: echo, port: 9000}]
  authorization: {rules: [{name: friend, from: [{serviceAccount: {namespace: $NAMESPACE, name: friend}}]}]}
`

const tokenOfAnybody = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: tokens}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  jwt: {providers: [{name: it, issuer: "https://id.test", jwks: {inline: '$KEYS'}}]}
`

// lawful is the story of an app to which policies let a friend, and not a foe.
type lawful struct {
	*stage.Scene
	t           *testing.T
	friend, foe *stage.Caller
}

// TestAuthorization has policies say who may call an app: by who calls, method, path, header and, of its own things
// only, by the claims of a token; on a port of bytes by who connects. While they come, change and go, no request
// fails of who may make it, and none gets through of who may not.
func TestAuthorization(t *testing.T) {
	stage.Parallel(t)
	l := newLawful(t, "authorization")
	for _, c := range []*stage.Caller{l.friend, l.foe} {
		c.Answered(call.Request{Protocol: call.TCP, Address: "echo:9000"}, nil)
	}
	throughout(t, l.friend, asks("echo", "/open/a"), func() {
		l.says(lawOfEcho, "requests")
		l.says(lawOfBytes, "bytes")
		l.byRequest()
		l.byBytes()
		l.edited()
	})
	l.byToken()
	throughout(t, l.friend, asks("echo", "/open/a"), func() {
		l.Remove(l.text(lawOfBytes))
		l.Remove(l.text(lawOfEcho))
		l.foe.Answered(asks("echo", "/closed"), nil)
		l.foe.Answered(call.Request{Protocol: call.TCP, Address: "echo:9000"}, nil)
	})
}

// newLawful has an app that both may call.
func newLawful(t *testing.T, name string) lawful {
	t.Helper()
	l := lawful{Scene: stage.NewMeshed(t, name), t: t}
	echo(t, l.Scene, "echo", "declared", "{}")
	caller(t, l.Scene, "friend", false)
	caller(t, l.Scene, "foe", false)
	l.Rollout("echo")
	l.friend, l.foe = l.Caller("friend"), l.Caller("foe")
	for _, c := range []*stage.Caller{l.friend, l.foe} {
		c.Answered(asks("echo", "/open"), nil)
	}
	return l
}

func (l lawful) text(policy string) string {
	return strings.ReplaceAll(policy, "$NAMESPACE", l.Namespace)
}

func (l lawful) says(policy, name string) {
	l.t.Helper()
	l.Apply(l.text(policy))
	l.Holds(name)
}

// answers wants a call to be answered with a status.
func (l lawful) answers(who *stage.Caller, r call.Request, status int) {
	l.t.Helper()
	if out := who.Call(r); out.Status != status {
		l.t.Errorf("%s's %s %v: %+v, wanted %d", who.Pod.Name, r.Path, r.Headers, out, status)
	}
}

func (l lawful) byRequest() {
	l.t.Helper()
	with := func(value string) call.Request {
		r := asks("echo", "/closed")
		r.Headers = map[string]string{"x-pass": value}
		return r
	}
	posts := asks("echo", "/open/a")
	posts.Text = "a POST"
	for _, r := range []call.Request{asks("echo", "/open"), asks("echo", "/open/a?b=c"), with("please")} {
		l.answers(l.friend, r, 200)
		l.answers(l.foe, r, 403)
	}
	for _, r := range []call.Request{
		posts, with("no"), with("please,no"), asks("echo", "/opened"), asks("echo", "/open/secret"), asks("echo", "/open/SECRET/a"), asks("echo", "/open/%73ecret"),
		asks("echo", "/open/a/../secret"), asks("echo", "/open/..;/closed"), asks("echo", "/open/%2573ecret"),
	} {
		l.answers(l.friend, r, 403)
	}
}

func (l lawful) byBytes() {
	l.t.Helper()
	bytes := call.Request{Protocol: call.TCP, Address: "echo:9000"}
	l.friend.Answered(bytes, nil)
	if out := l.foe.Call(bytes); out.Failed == "" {
		l.t.Errorf("the foe's bytes: %+v", out)
	}
}

// edited changes the policy again and again, to what lets the friend in as before, and never the foe.
func (l lawful) edited() {
	l.t.Helper()
	let := 0
	for i := range stage.Size(6, 60) {
		l.Apply(strings.Replace(l.text(lawOfEcho), "prefix: /open}", fmt.Sprintf("prefix: /open}, {exact: /other-%d}", i), 1))
		for _, out := range l.foe.Calls(20, asks("echo", "/open/a")) {
			if out.Status != 403 {
				let++
				l.t.Errorf("the foe, while the policy was edited: %+v", out)
			}
		}
	}
	l.Holds("requests")
	l.t.Logf("%d of the foe's calls got through", let)
}

// byToken has tokens demanded: each then reaches what is its own.
func (l lawful) byToken() {
	l.t.Helper()
	key := jwttest.NewKey(l.t, "a", "ES256")
	l.says(strings.ReplaceAll(tokenOfAnybody, "$KEYS", jwttest.Set(key)), "tokens")
	for path, status := range map[string]int{"/users/ann": 200, "/users/ann/cart": 200, "/users/bob": 403, "/ann": 403, "/users": 403} {
		r := asks("echo", path)
		r.Headers = map[string]string{"Authorization": "Bearer " + key.Token(jwttest.Claims{"iss": "https://id.test", "sub": "ann"})}
		l.answers(l.foe, r, status)
	}
	l.answers(l.friend, asks("echo", "/open/a"), 401)
	l.Remove(l.text(tokenOfAnybody))
	l.friend.Answered(asks("echo", "/open/a"), nil)
}
