// Package opa compiles who may call what into what Envoy decides by itself.
//
//	rules → Rego (rego.go) → partial evaluation for one destination (partial.go) → formulas, which are true or
//	false of every request (formula.go) → Envoy's RBAC (rbac.go): its own matchers (native.go), and CEL behind
//	them (cel.go); of connections without HTTP, CEL alone (bytes.go)
//	      └→ what of them is neither → a Question (question.go), which OPA answers of each request (judge.go)
//
// What OPA would answer, asked with the Input of a request, is what the policies mean. What is compiled
// answers the same; TestAuthorizationDiffers of internal/envoy holds both against a real Envoy.
//
// # Input, version 1
//
//	source.principal        the SPIFFE ID of the caller's certificate; with it
//	source.trust_domain     .namespace and .service_account, its parts. All missing without a certificate
//	source.ip               the address of the connection's other end; at Gateways source has nothing else
//	destination.namespace   .service_account, .labels and .port: of the pod that is called
//	request.method          .path (without the query) and .segments (of the path, between its slashes)
//	request.host            in small letters, up to the first colon
//	request.headers         by name, in small letters; several of one name joined by commas
//	jwt.claims              of the verified token, as it has them, but scope, which is a list of its words; numbers
//	                        are those of IEEE 754
//	time.hour               and .weekday: in UTC
//
// What a request does not have is missing in its Input; nothing is empty instead.
package opa

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
)

// Policy is what one MeshPolicy says of who may call what.
type Policy struct {
	Key string // namespace/name
	*v1alpha1.Authorization
	// TrustDomain is that of names that are written without one.
	TrustDomain string
	// GatewayAccount is the name of the ServiceAccount that the proxies of a Gateway run as, in its namespace.
	GatewayAccount func(namespace, name string) string
	// Data is what it finds in documents; nil: it has none.
	Data func(v1alpha1.AuthorizationData) document.Found
	// Modules has the text of its module, where it has one.
	Modules func(v1alpha1.AuthorizationRego) Text
}

// Destination is what is known of whom is called.
type Destination struct {
	// Gateway says that it is one: callers' certificates there are not the mesh's, and say nothing.
	Gateway        bool
	Namespace      string
	ServiceAccount string
	Labels         map[string]string
}

// Rule is a rule, or a role, of a Policy, as it was compiled for a Destination.
type Rule struct {
	Name string // <namespace>/<policy>/<rule>, or <namespace>/<policy>/roles/<role>
	Deny bool
	is   formula
	// module is the one that OPA is asked where Envoy does not decide all of it; nil: it is not asked.
	module *Module
}

// Asked says whether OPA is asked for what Envoy does not decide of it.
func (r Rule) Asked() bool {
	if r.module == nil {
		return false
	}
	_, left := r.policy()
	return len(left) > 0
}

// Short is its name in its Policy.
func (r Rule) Short() string { return strings.SplitN(r.Name, "/", 3)[2] }

// OfRequests says whether it asks for more than is known of a connection without HTTP.
func (r Rule) OfRequests() bool {
	return slices.ContainsFunc(r.is.atoms(), func(a atom) bool { return !knownOfBytes(a) })
}

// Problem is a part of a Policy that cannot be compiled. Where one is, nothing is allowed by its rule.
type Problem struct {
	Field string // as it follows authorization
	What  string
	// Instead is what it comes to; "": the rule lets nobody in.
	Instead string
	// Awaited says that something is missing of which is told elsewhere.
	Awaited bool
}
