package stories

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const lawByData = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: partners}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rules:
    - name: partners
      when: [{attribute: "request.headers[x-tenant]", operator: In, data: {configMapRef: {name: partners, key: partners.data.yaml}, path: [tenants]}}]
    - name: owners
      when: [{attribute: "request.headers[x-user]", operator: In, data: {configMapRef: {name: partners, key: partners.data.yaml}, path: [owners], by: "request.segments[1]"}}]
`

const partnersData = `
apiVersion: v1
kind: ConfigMap
metadata: {name: partners}
data:
  partners.data.yaml: |
    tenants: $TENANTS
    owners: {"7": [ann, bob], "8": carol}
`

// TestAuthorizationByData has a policy let in who is named in a ConfigMap. While that is missing, or cannot be read,
// nobody is let in by it and the policy says why; each change of it is in force without one of the policy, and no
// request fails of who is named before and after.
func TestAuthorizationByData(t *testing.T) {
	stage.Parallel(t)
	l := newLawful(t, "authorization-data")

	l.Apply(lawByData)
	l.PolicySays("partners", "ConfigMapNotFound", "spec.authorization.rules[0].when[0].data.configMapRef: ConfigMap "+l.Namespace+"/partners does not exist")
	l.becomes("/", "x-tenant", "acme", 403)

	l.tenants("[acme, initech]")
	l.Holds("partners")
	l.becomes("/", "x-tenant", "acme", 200)
	for _, c := range []struct {
		path, header, value string
		status              int
	}{
		{"/", "x-tenant", "initech", 200}, {"/", "x-tenant", "hooli", 403}, {"/", "x-tenant", "acme,initech", 403},
		{"/orders/7", "x-user", "ann", 200}, {"/orders/8", "x-user", "carol", 200}, {"/orders/8", "x-user", "ann", 403}, {"/orders/9", "x-user", "ann", 403}, {"/orders", "x-user", "ann", 403},
	} {
		l.answers(l.friend, l.with(c.path, c.header, c.value), c.status)
	}
	throughout(t, l.friend, l.with("/", "x-tenant", "acme"), func() {
		for i := range stage.Size(3, 20) {
			l.tenants(fmt.Sprintf("[acme, hooli-%d]", i))
			l.becomes("/", "x-tenant", fmt.Sprint("hooli-", i), 200)
		}
		l.becomes("/", "x-tenant", "initech", 403)
	})

	l.tenants("[acme, 7]")
	l.PolicySays("partners", "Invalid", `data["partners.data.yaml"] of ConfigMap `+l.Namespace+"/partners has at tenants[1] a number")
	l.becomes("/", "x-tenant", "acme", 403)
	l.answers(l.friend, l.with("/orders/7", "x-user", "ann"), 200)
	l.tenants("[acme]")
	l.Holds("partners")
	l.becomes("/", "x-tenant", "acme", 200)
}

func (l lawful) tenants(list string) {
	l.t.Helper()
	l.Apply(strings.ReplaceAll(partnersData, "$TENANTS", list))
}

func (l lawful) with(path, header, value string) call.Request {
	r := asks("echo", path)
	r.Headers = map[string]string{header: value}
	return r
}

// becomes waits until a call is answered with a status.
func (l lawful) becomes(path, header, value string, status int) {
	l.t.Helper()
	becomes(l.Scene, l.friend, l.with(path, header, value), status)
}
