package opatest

import (
	"fmt"
	"math/rand"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// All is drawn over few names, so that much of it meets.
var (
	Callers  = []string{"spiffe://mesh.test/ns/shop/sa/web", "spiffe://mesh.test/ns/shop/sa/batch", "spiffe://mesh.test/ns/office/sa/web", "spiffe://other.test/ns/shop/sa/web"}
	Headers  = []string{"x-role", "x-tenant"}
	Values   = []string{"user", "admin", "payments", "ann", "ten"}
	Labels   = map[string]string{"team": "payments", "user": "ann", "empty": ""}
	Segments = []string{"open", "admin", "ann", "users", "shop.Cart"}
)

func one[T any](r *rand.Rand, xs ...T) T { return xs[r.Intn(len(xs))] }

func some[T any](r *rand.Rand, most int, draw func() T) (out []T) {
	for range 1 + r.Intn(most) {
		out = append(out, draw())
	}
	return out
}

func maybe(r *rand.Rand) bool { return r.Intn(2) == 0 }

// Authorization draws one.
func Authorization(r *rand.Rand) *v1alpha1.Authorization {
	out := &v1alpha1.Authorization{}
	for i := range 1 + r.Intn(4) {
		rule := v1alpha1.AuthorizationRule{Name: fmt.Sprint("r", i), Action: one(r, v1alpha1.AuthorizationAllow, v1alpha1.AuthorizationAllow, v1alpha1.AuthorizationDeny)}
		if maybe(r) {
			rule.From = some(r, 2, func() v1alpha1.AuthorizationSource { return source(r) })
		}
		if maybe(r) {
			rule.To = some(r, 2, func() v1alpha1.AuthorizationOperation { return operation(r) })
		}
		if maybe(r) {
			rule.When = some(r, 2, func() v1alpha1.AuthorizationCondition { return condition(r) })
		}
		out.Rules = append(out.Rules, rule)
	}
	if r.Intn(4) == 0 {
		out.Roles = []v1alpha1.AuthorizationRole{{Name: "role", May: []v1alpha1.AuthorizationOperation{operation(r)}, HeldBy: []v1alpha1.AuthorizationSource{source(r)}}}
	}
	return out
}

func source(r *rand.Rand) (s v1alpha1.AuthorizationSource) {
	switch r.Intn(6) {
	case 0:
		s.ServiceAccount = &v1alpha1.ObjectName{Namespace: one(r, "shop", "office"), Name: one(r, "web", "batch")}
	case 1:
		s.Gateway = &v1alpha1.ObjectName{Namespace: "shop", Name: "ba"}
	case 2:
		s.Namespace = one(r, "shop", "office", "of")
	case 3:
		s.TrustDomain = one(r, "mesh.test", "other.test")
	case 4:
		s.IPBlocks = []string{one(r, "127.0.0.2/32", "127.0.0.0/30", "10.0.0.0/8", "fd00::/8")}
	}
	if s.TrustDomain == "" && len(s.IPBlocks) == 0 && s.Namespace == "" && s.ServiceAccount == nil && s.Gateway == nil || r.Intn(4) == 0 {
		s.JWT = &v1alpha1.AuthorizationJWT{}
		switch r.Intn(3) {
		case 0:
			s.JWT.Issuers = []string{one(r, Issuer, "https://else")}
		case 1:
			s.JWT.Subjects = some(r, 2, func() string { return one(r, Values...) })
		case 2:
			s.JWT.Groups = some(r, 2, func() string { return one(r, Values...) })
		}
	}
	return s
}

func operation(r *rand.Rand) (o v1alpha1.AuthorizationOperation) {
	for o.Methods == nil && o.Paths == nil && o.Hosts == nil && o.GRPC == nil && o.Headers == nil {
		if r.Intn(3) == 0 {
			o.Methods = some(r, 2, func() string { return one(r, "GET", "POST", "PUT") })
		}
		if r.Intn(3) == 0 {
			o.Paths = some(r, 2, func() v1alpha1.AuthorizationPath { return path(r) })
		}
		if r.Intn(5) == 0 {
			o.Hosts = some(r, 2, func() string { return one(r, "cart", "shop.example.com", "*.example.com") })
		}
		if r.Intn(8) == 0 && o.Methods == nil && o.Paths == nil {
			o.GRPC = []v1alpha1.AuthorizationGRPC{{Service: "shop.Cart", Method: one(r, "", "Add")}}
		}
		if r.Intn(4) == 0 {
			o.Headers = []v1alpha1.AuthorizationHeader{{Name: one(r, Headers...), Values: one(r, nil, []string{"user"}, []string{"admin", "user"})}}
		}
	}
	return o
}

func path(r *rand.Rand) (p v1alpha1.AuthorizationPath) {
	switch text := "/" + one(r, Segments...); r.Intn(3) {
	case 0:
		p.Exact = one(r, text, text+"/"+one(r, Segments...), "/")
	case 1:
		p.Prefix = one(r, text, text+"/", "/")
	case 2:
		p.Template = one(r, "/users/{user}", text+"/{rest...}", "/{a}/{b}", text+"/{a}/x")
	}
	return p
}

var texts = []string{
	"source.principal", "source.trustDomain", "source.namespace", "source.serviceAccount", "destination.namespace",
	"destination.labels[team]", "destination.labels[user]", "destination.labels[empty]", "destination.labels[none]",
	"request.method", "request.path", "request.host", "request.headers[x-role]", "request.headers[x-tenant]", "request.segments[0]", "request.segments[1]",
	"jwt.issuer", "jwt.subject", "jwt.claims[groups]", "jwt.claims[team]", "jwt.claims[realm][roles]",
}

func condition(r *rand.Rand) v1alpha1.AuthorizationCondition {
	c := v1alpha1.AuthorizationCondition{Attribute: one(r, texts...), Operator: one(r, v1alpha1.AttributeIn, v1alpha1.AttributeIn, v1alpha1.AttributeNotIn, v1alpha1.AttributeNotIn,
		v1alpha1.AttributeStartsWith, v1alpha1.AttributeEndsWith, v1alpha1.AttributeExists, v1alpha1.AttributeDoesNotExist, v1alpha1.AttributeAtLeast, v1alpha1.AttributeLessThan)}
	switch c.Operator {
	case v1alpha1.AttributeExists, v1alpha1.AttributeDoesNotExist:
	case v1alpha1.AttributeAtLeast, v1alpha1.AttributeLessThan:
		c.Attribute, c.Values = one(r, "time.hour", "time.weekday", "jwt.claims[level]", "jwt.claims[team]"), []string{one(r, "0", "3", "7", "12")}
	case v1alpha1.AttributeIn, v1alpha1.AttributeNotIn:
		if maybe(r) {
			c.Attributes = some(r, 2, func() string { return one(r, texts...) })
			break
		}
		fallthrough
	default:
		if r.Intn(4) == 0 {
			c.Data = data(r)
			break
		}
		c.Values = some(r, 2, func() string { return one(r, append(Values, "GET", "cart", "shop", "/open", "Admin", "a")...) })
	}
	return c
}

// Issuer is that of Tokens.
const Issuer = "https://id.test"

// Claims draws those of a token: some are missing, and some of another type than they are asked for.
func Claims(r *rand.Rand) map[string]any {
	text := func() any { return one(r, Values...) }
	any_ := func() any {
		return one[any](r, text(), text(), text(), []any{text()}, []any{text(), text()}, []any{}, []any{7.0, text()}, []any{[]any{text()}},
			map[string]any{"a": text(), "admin": "x"}, 7.0, 3.5, true, false, nil, "", "Admin", "ann/")
	}
	out := map[string]any{"iss": Issuer}
	for _, name := range []string{"sub", "groups", "team", "level"} {
		if r.Intn(4) > 0 {
			out[name] = any_()
		}
	}
	if s, is := out["sub"]; is { // a verifier may want it to be text
		if _, is := s.(string); !is {
			delete(out, "sub")
		}
	}
	if maybe(r) {
		out["level"] = one[any](r, 0.0, 2.0, 3.0, 6.5, 7.0, 100.0, "7")
	}
	switch r.Intn(4) {
	case 0:
		out["realm"] = any_()
	case 1, 2:
		out["realm"] = map[string]any{"roles": any_()}
	}
	return out
}
