package room

// Where the claims of verified tokens are, for sections that go by them.
//
//	section jwt: a token is verified → dynamic metadata of the request → authorization, ...
//
// Only Envoy's jwt_authn filter writes there, and only what it has verified; no client can. Where no policy
// demands a token, or none has been verified yet, there is nothing, so that who looks for a claim finds none:
// what is missing must never be an allowance.
const (
	// ClaimsNamespace is the namespace of that metadata, in which what a filter verified is under its key.
	ClaimsNamespace = "envoy.filters.http.jwt_authn"
	// Claims is the key of the payload of the token which the innermost level accepted that demands one,
	// whichever provider of it did: {"iss": ..., "sub": ..., ...} in JSON's own types. The claim "scope", where
	// it is a string, is a list of its words here.
	Claims = "claims"
)

// OuterClaims is the key of the payload that an outer level accepted: of several levels each may demand another
// token.
func OuterClaims(l Level) string { return Claims + "/" + levelNames[l] }

var levelNames = map[Level]string{
	AtMesh: "mesh", AtNamespace: "namespace", AtServiceAccount: "serviceaccount", AtPods: "pods",
	AtService: "service", AtPort: "port", AtRoute: "route", AtRule: "rule",
}
