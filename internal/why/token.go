package why

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// demand is what one level demands of tokens.
type demand struct {
	room.Level
	policies []string
	of       []v1alpha1.JWTProvider
}

// tokens looks at each level's demand of a token, and has the claims of one that fulfils it go to who goes by them.
func (e *explaining) tokens(guards []room.Decided) {
	demands := demandsOf(guards)
	if len(demands) == 0 {
		if e.Claims != nil {
			e.note("no policy with jwt is about it, so that nobody verifies a token: rules find no claims")
		}
		return
	}
	if e.request == nil {
		if e.called.HTTP() {
			e.check(Check{Name: jwt.Section.Name, Policies: demands[0].policies, Why: "a token is demanded, which nobody sees in a connection without HTTP"})
		}
		return
	}
	var levels []room.Level
	for _, d := range demands {
		levels = append(levels, d.Level)
		c := Check{Name: jwt.Section.Name, Level: levelName(d.Level, e.gateway), Policies: d.policies}
		if c.Status, c.Why = d.wants(e.Claims, e.At); c.Status == 0 {
			c.Passed = true
			e.out.Call.Tokens[room.ClaimsFor(d.Level, levels)] = claimsOf(e.Claims)
		}
		e.check(c)
	}
}

func demandsOf(guards []room.Decided) (out []demand) {
	for _, d := range guards {
		says, is := d.Says.(*v1alpha1.JWT)
		if !is {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Level != d.Level {
			out = append(out, demand{Level: d.Level})
		}
		l := &out[len(out)-1]
		l.policies = append(l.policies, d.Policy)
		for _, p := range says.Providers {
			if !slices.ContainsFunc(l.of, func(o v1alpha1.JWTProvider) bool { return o.Issuer == p.Issuer }) {
				l.of = append(l.of, p)
			}
		}
	}
	return out
}

// skew is by how much clocks may differ.
const skew = 30 * time.Second

// wants is with what status claims are refused, and why; 0: they are not.
func (d demand) wants(claims map[string]any, at time.Time) (status int, why string) {
	var issuers []string
	for _, p := range d.of {
		issuers = append(issuers, p.Issuer)
	}
	takes := "the policy takes tokens of " + strings.Join(issuers, " or ")
	issuer, named := claims["iss"].(string)
	i := slices.Index(issuers, issuer)
	switch {
	case claims == nil:
		return http.StatusUnauthorized, "the request has no token: " + takes + ". Say by --claims what is in it"
	case !named:
		return http.StatusUnauthorized, "jwt.issuer is absent, " + takes + ". Say by --issuer who made it"
	case i < 0:
		return http.StatusUnauthorized, fmt.Sprintf("jwt.issuer is %s, %s", issuer, takes)
	}
	if ends, is := claims["exp"].(float64); is && !at.Before(time.Unix(int64(ends), 0).Add(skew)) {
		return http.StatusUnauthorized, fmt.Sprintf("the token has expired at %s", time.Unix(int64(ends), 0).UTC().Format(time.RFC3339))
	}
	if begins, is := claims["nbf"].(float64); is && at.Before(time.Unix(int64(begins), 0).Add(-skew)) {
		return http.StatusUnauthorized, fmt.Sprintf("the token is not valid before %s", time.Unix(int64(begins), 0).UTC().Format(time.RFC3339))
	}
	p := d.of[i]
	if len(p.Audiences) > 0 && !slices.ContainsFunc(p.Audiences, func(a string) bool { return slices.Contains(listOf(claims["aud"]), a) }) {
		return http.StatusForbidden, fmt.Sprintf("jwt.claims[aud] is %s, provider %s takes %s", shown(claims["aud"]), p.Name, strings.Join(p.Audiences, " or "))
	}
	for _, c := range p.Claims {
		if takes := lacks(claimsOf(claims), c); takes != "" {
			return http.StatusForbidden, fmt.Sprintf("jwt.claims[%s] is %s, provider %s takes %s", strings.Join(c.Path, "]["), shown(claimAt(claimsOf(claims), c.Path)), p.Name, takes)
		}
	}
	return 0, fmt.Sprintf("provider %s takes tokens of %s", p.Name, issuer)
}

// listOf are the texts of a claim that is one, or a list of some.
func listOf(claim any) (out []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			if s, is := e.(string); is {
				out = append(out, s)
			}
		}
	}
	return out
}

// claimsOf are claims as proxies have them: the words of scope apart.
func claimsOf(claims map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range claims {
		out[k] = v
	}
	if scope, is := out["scope"].(string); is {
		words := []any{}
		for _, w := range strings.Fields(scope) {
			words = append(words, w)
		}
		out["scope"] = words
	}
	return out
}

// claimAt is the claim at a path; nil: there is none.
func claimAt(claims map[string]any, path []string) any {
	var out any = claims
	for _, k := range path {
		inner, _ := out.(map[string]any)
		out = inner[k]
	}
	return out
}

// lacks is what a provider takes that the claims are not; "": they are.
func lacks(claims map[string]any, c v1alpha1.RequiredClaim) (takes string) {
	v := claimAt(claims, c.Path)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	truth, isBool := v.(bool)
	ok := v != nil
	takes = "any"
	switch {
	case len(c.Values) > 0:
		ok, takes = isText && slices.Contains(c.Values, text), strings.Join(c.Values, " or ")
	case len(c.Contains) > 0:
		_, isList := v.([]any)
		ok = isList && slices.ContainsFunc(listOf(v), func(s string) bool { return slices.Contains(c.Contains, s) })
		takes = "a list with " + strings.Join(c.Contains, " or ")
	case c.Number != nil:
		ok = isNumber && (c.Number.Min == nil || number >= float64(*c.Number.Min)) && (c.Number.Max == nil || number <= float64(*c.Number.Max))
		takes = "a number" + bound(" from ", c.Number.Min) + bound(" to ", c.Number.Max)
	case c.Bool != nil:
		ok, takes = isBool && truth == *c.Bool, fmt.Sprint(*c.Bool)
	}
	if ok {
		return ""
	}
	return takes
}

func bound(word string, n *int64) string {
	if n == nil {
		return ""
	}
	return word + fmt.Sprint(*n)
}

func shown(v any) string {
	if v == nil {
		return "absent"
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out)
}
