package room

// Where the claims of verified tokens are, for sections that go by them.
//
//	section jwt: a token is verified → dynamic metadata of the request → authorization, ...
//
// Only Envoy's jwt_authn filter writes there, and only what it has verified; no client can. Where no policy
// demands a token, or none has been verified yet, there is nothing, so that who looks for a claim finds none:
// what is missing must never be an allowance.
//
// Policies of several levels may each demand another token. Whoever writes an inner policy must not have a say in
// what an outer one goes by: so each level has its claims under a key of its own, and a policy goes by those that
// ClaimsFor its level.
const (
	// ClaimsNamespace is the namespace of that metadata, in which what a filter verified is under its key.
	ClaimsNamespace = "envoy.filters.http.jwt_authn"
	// Claims is the key of the payload of the token which the outermost level accepted that demands one,
	// whichever provider of it did: {"iss": ..., "sub": ..., ...} in JSON's own types. The claim "scope", where
	// it is a string, is a list of its words here.
	Claims = "claims"
)

// InnerClaims is the key of the payload that a level accepted within which the outermost is not.
func InnerClaims(l Level) string { return Claims + "/" + levelNames[l] }

// ClaimsFor is the key of the claims that a policy of a level goes by, given the levels that demand a token, from the
// outer to the inner ones: those of the innermost that is not within its own. "": it has none to go by.
func ClaimsFor(own Level, demand []Level) (key string) {
	for i, l := range demand {
		switch {
		case l > own:
			return key
		case i == 0:
			key = Claims
		default:
			key = InnerClaims(l)
		}
	}
	return key
}

var levelNames = map[Level]string{
	AtMesh: "mesh", AtNamespace: "namespace", AtServiceAccount: "serviceaccount", AtPods: "pods",
	AtService: "service", AtPort: "port", AtRoute: "route", AtRule: "rule",
}
