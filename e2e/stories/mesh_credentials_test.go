package stories

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const credentialPolicies = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: front}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  apiKey: {secretRefs: [{name: partners}], clientHeader: X-Client}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: app}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  basicAuth: {secretRef: {name: staff}, userHeader: X-User}
`

const credentialSecrets = `
apiVersion: v1
kind: Secret
metadata: {name: partners}
type: mesh.weft.dev/credentials
stringData: {acme: key-of-acme, globex: $KEY}
---
apiVersion: v1
kind: Secret
metadata: {name: staff}
type: mesh.weft.dev/credentials
stringData:
  .htpasswd: |
    ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
    $LINE
`

// keyOfAll is a policy that demands a key of the whole namespace: at its Gateway and, of what comes there, at the pods.
const keyOfAll = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: all}
spec:
  apiKey: {secretRefs: [{name: partners}]}
`

// keysAndUsers is the story of an app behind a Gateway, which wants a key of clients, while the app wants a password of
// all.
type keysAndUsers struct {
	*stage.Scene
	t       *testing.T
	from    *stage.Caller
	gateway *stage.Gateway
}

// TestCredentials: policies come before their Secrets, and nobody is let in until these are there; then who has a
// key, and is a user, is let in, and the app is told who that is and gets neither. Keys and users come and go and fail
// no request of others; what is wrong in a Secret lets nobody in, and is told of.
func TestCredentials(t *testing.T) {
	stage.Parallel(t)
	c := newCredentials(t)
	c.Apply(credentialPolicies)
	c.PolicySays("front", "SecretNotFound", "there is no Secret "+c.Namespace+"/partners of type")
	c.becomes(c.gateway.At(80), "key-of-acme", "ann", 503)
	c.becomes("", "", "ann", 503)
	c.Step("without the Secrets nobody is let in")

	c.Apply(secretsOf("key-of-globex", "bob:{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="))
	c.Holds("front")
	c.Holds("app")
	c.becomes(c.gateway.At(80), "key-of-acme", "ann", 200)
	c.becomes("", "", "ann", 200)
	c.sorts()

	c.held(func() {
		c.Apply(secretsOf("another-key", "# nobody else"))
		c.becomes(c.gateway.At(80), "another-key", "ann", 200)
		c.becomes(c.gateway.At(80), "key-of-globex", "ann", 401)
		c.Apply(secretsOf("key-of-acme", "carl:$2y$05$abc"))
		c.PolicySays("front", "Invalid", "are the same key")
		c.PolicySays("app", "Invalid", `line 2 of data[".htpasswd"] of Secret `+c.Namespace+"/staff has a password hashed by bcrypt")
	}, "", "ann")
	c.becomes(c.gateway.At(80), "key-of-acme", "ann", 503) // two clients have it, and it is the only one
	c.Apply(secretsOf("key-of-globex", "# nobody else"))
	c.becomes(c.gateway.At(80), "key-of-acme", "ann", 200)
	c.Step("Secrets change under traffic")

	c.Apply(keyOfAll)
	c.Holds("all")
	c.becomes("", "", "ann", 401)
	c.becomes("", "key-of-acme", "ann", 200)
	c.becomes(c.gateway.At(80), "key-of-acme", "ann", 200) // which the Gateway leaves for the sidecar to look for
	c.becomes("", "key-of-acme", "x", 401)
	c.Step("the namespace's demand holds beside the others")

	c.Remove(keyOfAll + "---" + credentialPolicies)
	c.becomes(c.gateway.At(80), "", "", 200)
	c.becomes("", "", "", 200)
}

func secretsOf(key, line string) string {
	return strings.NewReplacer("$KEY", key, "$LINE", line).Replace(credentialSecrets)
}

func newCredentials(t *testing.T) *keysAndUsers {
	t.Helper()
	c := &keysAndUsers{Scene: stage.NewMeshed(t, "credentials"), t: t}
	c.OnThisMachine()
	echo(t, c.Scene, "echo", "declared", "{}")
	caller(t, c.Scene, "caller", false)
	c.Apply(manifest(t, "mesh/gateway.yaml"))
	c.Rollout("echo")
	c.from, c.gateway = c.Caller("caller"), c.Gateway("front")
	c.becomes(c.gateway.At(80), "", "", 200)
	c.becomes("", "", "", 200)
	return c
}

// requested is a request with a key and as a user.
func requested(address, key, user string) call.Request {
	return call.Request{Protocol: call.HTTP, Address: address, Host: "echo.test", Headers: map[string]string{
		"X-Client": "root", "X-User": "root", "X-API-Key": key, "Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":secret")),
	}}
}

// ask makes a request of a Gateway's address, or of "" as a pod does.
func (c *keysAndUsers) ask(gateway, key, user string) call.Outcome {
	if gateway == "" {
		return c.from.Call(requested(at("echo", 80), key, user))
	}
	return call.Do(c.t.Context(), requested(gateway, key, user))
}

func (c *keysAndUsers) becomes(gateway, key, user string, status int) {
	c.t.Helper()
	c.Until(time.Minute, fmt.Sprintf("a request with the key %q, as user %q, is answered %d", key, user, status), func(context.Context) error {
		if out := c.ask(gateway, key, user); out.Status != status {
			return fmt.Errorf("status %d %s by pod %q", out.Status, out.Failed, out.Answer.Pod)
		}
		return nil
	})
}

// sorts asks with keys and as users of each kind.
func (c *keysAndUsers) sorts() {
	c.t.Helper()
	for what, k := range map[string]struct {
		gateway, key, user string
		status             int
	}{
		"with both":                         {c.gateway.At(80), "key-of-globex", "ann", 200},
		"with another key":                  {c.gateway.At(80), "x", "ann", 401},
		"without a key":                     {c.gateway.At(80), "", "ann", 401},
		"with a key, and another password":  {c.gateway.At(80), "key-of-acme", "bob", 401},
		"from a pod, as a user":             {"", "", "ann", 200},
		"from a pod, with another password": {"", "key-of-acme", "bob", 401},
		"from a pod, as nobody":             {"", "key-of-acme", "", 401},
	} {
		out := c.ask(k.gateway, k.key, k.user)
		if out.Status != k.status || (out.Answer.Pod == "") != (k.status != 200) {
			c.t.Errorf("%s: status %d %s by pod %q, want %d", what, out.Status, out.Failed, out.Answer.Pod, k.status)
		}
		got := out.Answer.Headers
		client := map[bool]string{true: "globex", false: "root"}[k.gateway != ""] // whom pods tell of, nobody replaces
		if k.status == 200 && (got.Get("X-User") != "ann" || got.Get("X-Client") != client || got.Get("Authorization") != "" || k.gateway != "" && got.Get("X-API-Key") != "") {
			c.t.Errorf("%s: the app is told %v", what, got)
		}
	}
	c.Step("who has a key and is a user gets through, and nobody else")
}

// held calls and calls from a pod while something is done, and wants no call to fail.
func (c *keysAndUsers) held(do func(), key, user string) {
	c.t.Helper()
	throughout(c.t, c.from, requested(at("echo", 80), key, user), do)
}
