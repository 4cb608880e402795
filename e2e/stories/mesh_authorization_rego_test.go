package stories

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/registrytest"
)

const lawInRego = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: in-rego}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rego: {configMapRef: {name: law, key: echo.rego}}
`

const moduleOfEcho = `
apiVersion: v1
kind: ConfigMap
metadata: {name: law}
data:
  echo.rego: |
    package weft.v1

    default allow := false

    allow if {
        input.source.service_account == "friend"
        input.request.method in {"GET", "HEAD"}
        startswith(input.request.path, "/open")
    }

    allow if {
        input.request.segments[0] == "users"
        input.request.segments[1] == input.request.headers["x-user"]
        not revoked
    }

    revoked if input.request.headers["x-user"] in {"mallory", "$REVOKED"}

    deny if contains(input.request.path, "internal")
`

// TestAuthorizationInRego has a module of Rego say who may call. While it is missing everything is denied, and the policy
// says why; each edit of it is in force without one of the policy, and while it is edited no request fails of who may
// make it before and after. One that cannot be read, or that is deleted, changes nothing, and the policy says in which
// line and what holds.
func TestAuthorizationInRego(t *testing.T) {
	stage.Parallel(t)
	l := newLawful(t, "authorization-rego")

	l.Apply(lawInRego)
	l.PolicySays("in-rego", "ConfigMapNotFound", "spec.authorization.rego.configMapRef: ConfigMap "+l.Namespace+"/law does not exist")
	becomes(l.Scene, l.friend, asks("echo", "/open"), 403)

	l.module("nobody")
	l.Holds("in-rego")
	becomes(l.Scene, l.friend, asks("echo", "/open"), 200)
	posts := asks("echo", "/open")
	posts.Text = "a POST"
	for _, c := range []struct {
		who    *stage.Caller
		asks   call.Request
		status int
	}{
		{l.friend, asks("echo", "/open/a?b=/internal"), 200}, {l.friend, posts, 403}, {l.friend, asks("echo", "/shut"), 403}, {l.friend, asks("echo", "/open/internal"), 403},
		{l.foe, asks("echo", "/open"), 403}, {l.foe, l.with("/users/ann", "x-user", "ann"), 200}, {l.foe, l.with("/users/ann", "x-user", "bob"), 403},
		{l.foe, asks("echo", "/users/ann"), 403}, {l.foe, l.with("/users/mallory", "x-user", "mallory"), 403}, {l.foe, l.with("/users/ann/internal", "x-user", "ann"), 403},
	} {
		l.answers(c.who, c.asks, c.status)
	}

	throughout(t, l.friend, asks("echo", "/open"), func() {
		for i := range stage.Size(4, 40) {
			user := fmt.Sprint("user-", i)
			l.answers(l.foe, l.with("/users/"+user, "x-user", user), 200)
			l.module(user)
			becomes(l.Scene, l.foe, l.with("/users/"+user, "x-user", user), 403)
		}
	})

	throughout(t, l.friend, asks("echo", "/open"), func() {
		l.Apply(strings.Replace(moduleOfEcho, "not revoked", `not input.request.headers["x-user"] == "mallory"`, 1))
		l.PolicySays("in-rego", "Invalid", `data["echo.rego"] of ConfigMap `+l.Namespace+"/law has a mistake in line 14")
		l.PolicySays("in-rego", "Invalid", before)
		l.answers(l.foe, asks("echo", "/open"), 403)
		l.Remove(moduleOfEcho)
		l.PolicySays("in-rego", "ConfigMapNotFound", before)
		for range 20 {
			l.answers(l.foe, asks("echo", "/open"), 403)
		}
		l.module("nobody")
		l.Holds("in-rego")
	})
}

// before is what is said where a module cannot be read.
const before = "until then what was there before stays in force"

// module applies it, with one more user who may not call.
func (l lawful) module(revoked string) {
	l.t.Helper()
	l.Apply(strings.ReplaceAll(moduleOfEcho, "$REVOKED", revoked))
}

// TestAuthorizationFetched has the module fetched: until it is there everything is denied; while that of a new digest is
// awaited, or is another text, the one of before stays in force and no request fails; and once it is there it is in force.
// It may be a file of a bundle that a server has, or a registry.
func TestAuthorizationFetched(t *testing.T) {
	stage.Parallel(t)
	l := newLawful(t, "authorization-fetched")
	l.OnThisMachine()
	m := serveModules(t, l.Pod("echo").Status.HostIP)
	law := func(url, only string) (policy, module string) {
		module = fmt.Sprintf("package weft.v1\nallow if input.source.service_account in {%s}", only)
		from := fmt.Sprintf("remote: {url: %s, sha256: %x}", url, sha256.Sum256([]byte(module)))
		return strings.Replace(lawInRego, "configMapRef: {name: law, key: echo.rego}", from, 1), module
	}
	one, module := law(m.url+"/one.rego", `"friend"`)
	l.Apply(one)
	l.PolicySays("in-rego", "ModuleNotFetched", "/one.rego cannot be fetched: its server answers 404 (until then everything is denied)")
	becomes(l.Scene, l.friend, asks("echo", "/open"), 403)
	m.put("/one.rego", []byte(module))
	l.Holds("in-rego")
	becomes(l.Scene, l.friend, asks("echo", "/open"), 200)
	l.answers(l.foe, asks("echo", "/open"), 403)

	throughout(t, l.friend, asks("echo", "/open"), func() {
		two, module := law(m.url+"/two.rego", `"friend", "foe"`)
		m.put("/two.rego", []byte("package weft.v1\nallow if true"))
		l.Apply(two)
		l.PolicySays("in-rego", "Invalid", "set that one in sha256 if it is the right module, or mend the URL ("+before)
		l.answers(l.foe, asks("echo", "/open"), 403)
		m.put("/two.rego", []byte(module))
		l.Holds("in-rego")
		becomes(l.Scene, l.foe, asks("echo", "/open"), 200)

		three, module := law(m.url+"/bundle.tar.gz", `"friend", "nobody"`)
		m.put("/bundle.tar.gz", registrytest.Archive(t, map[string]string{"law/echo.rego": module, "law/more.rego": "package more"}))
		l.Apply(three)
		l.Holds("in-rego")
		becomes(l.Scene, l.foe, asks("echo", "/open"), 403)

		url := download.PlainOCI + strings.TrimPrefix(m.url, "http://") + "/laws/echo:4"
		four, module := law(url, `"friend", "foe", "nobody"`)
		l.Apply(four)
		l.PolicySays("in-rego", "ModuleNotFetched", "/laws/echo:4 cannot be fetched: its registry answers 404 ("+before)
		l.answers(l.foe, asks("echo", "/open"), 403)
		m.push(t, "laws/echo:4", registrytest.Layer{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Content: registrytest.Archive(t, map[string]string{"law/echo.rego": module})})
		l.Holds("in-rego")
		becomes(l.Scene, l.foe, asks("echo", "/open"), 200)
	})
}
