package oidc

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func TestDiscovered(t *testing.T) {
	const issuer = "https://a.example/realm"
	good := `{"issuer":"https://a.example/realm","authorization_endpoint":"https://a.example/auth?x=y","token_endpoint":"https://a.example/token","end_session_endpoint":"http://a.b.svc/end"}`
	for text, wrong := range map[string]string{
		good: "",
		strings.Replace(good, "realm", "realm/", 1):              "",
		strings.Replace(good, `"issuer"`, `"x":[1],"issuer"`, 1): "",
		strings.Replace(good, "realm", "other", 1):               "is of another issuer",
		"":                                     "is no discovery document",
		"[]":                                   "is no discovery document",
		`{"issuer":"https://a.example/realm"}`: "authorization_endpoint must be",
		strings.Replace(good, "https://a.example/auth", "javascript:x", 1):                     "authorization_endpoint must be",
		strings.Replace(good, "https://a.example/auth", "https://a.example/\\r\\nx: y", 1):     "authorization_endpoint must be",
		strings.Replace(good, "https://a.example/token", "http://a.example/token", 1):          "token_endpoint must be",
		strings.Replace(good, "https://a.example/token", "https://a.example/token?a=b", 1):     "token_endpoint must be",
		strings.Replace(good, "https://a.example/token", "https://a.example:99999/token", 1):   "token_endpoint must be",
		strings.Replace(good, "https://a.example/token", "http://169.254.169.254/token", 1):    "token_endpoint must be",
		strings.Replace(good, "http://a.b.svc/end", "http://a.b/end", 1):                       "end_session_endpoint must be",
		strings.Replace(good, "http://a.b.svc/end", "https://a/"+strings.Repeat("x", 1024), 1): "end_session_endpoint must be",
		strings.Repeat(" ", 40000): "has more than",
	} {
		endpoints, problem := Discovered(text, issuer)
		if (wrong == "") != (problem == "") || !strings.HasPrefix(problem, wrong) || (problem == "") != (endpoints != "") {
			t.Errorf("%.150s: %q, %q; want %q", text, endpoints, problem, wrong)
		}
		if e, ok := ParseEndpoints(endpoints); ok != (wrong == "") || ok && e.Token != "https://a.example/token" {
			t.Errorf("%.150s: %+v", text, e)
		}
	}
	for methods, post := range map[string]bool{`[]`: false, `["client_secret_basic","client_secret_post"]`: false, `["client_secret_post"]`: true, `["private_key_jwt"]`: false} {
		text, problem := Discovered(strings.Replace(good, `"issuer"`, `"token_endpoint_auth_methods_supported":`+methods+`,"issuer"`, 1), issuer)
		if e, ok := ParseEndpoints(text); !ok || problem != "" || e.post() != post {
			t.Errorf("%s: in the body: %v; %s", methods, e.post(), problem)
		}
	}
}

func TestToken(t *testing.T) {
	for text, want := range map[string]Token{
		"https://A.example/x": {"a.example", 443, true}, "http://a.b.svc/": {"a.b.svc", 80, false}, "https://10.0.0.1:8443/": {"10.0.0.1", 8443, true},
	} {
		if got, ok := ParseToken(text); !ok || got != want || got.Named() == strings.Contains(text, "10.") {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for _, text := range []string{"", "/x", "https:///x", "https://a:0/", "https://a:65536/"} {
		if got, ok := ParseToken(text); ok {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// TestSecretsOfPolicies: names of secrets tell policies, and the two, apart.
func TestSecretsOfPolicies(t *testing.T) {
	for i, name := range append(Secrets("a/b"), Cluster("a/b")) {
		if policy, session := PolicyOf(name); policy != "a/b" || session != (i == 1) || !IsLogin(name) {
			t.Errorf("%s: %s, %v", name, policy, session)
		}
	}
	if policy, session := PolicyOf(Cluster("a/session")); policy != "a/session" || session {
		t.Errorf("%s, %v", policy, session)
	}
	one := &v1alpha1.OIDC{ClientID: "a", Provider: v1alpha1.OIDCProvider{Issuer: "https://a"}}
	again := &v1alpha1.OIDC{ClientID: "a", Provider: v1alpha1.OIDCProvider{Issuer: "https://a"}, LogoutPath: "/out"}
	other := &v1alpha1.OIDC{ClientID: "a", Provider: v1alpha1.OIDCProvider{Issuer: "https://b"}}
	if Kept("a/b", one) == Kept("a/b", other) || Kept("a/b", one) == Kept("a/c", one) || Kept("a/b", one) != Kept("a/b", again) {
		t.Error("sessions of one are those of another")
	}
}

// TestPublicAuthorities: there are enough to be of use, each a certificate.
func TestPublicAuthorities(t *testing.T) {
	all := string(PublicAuthorities())
	again, _ := room.Authorities([]byte("x\n" + all + "y"))
	if n := strings.Count(all, "BEGIN CERTIFICATE"); n < 80 || checkAuthorities(all) != "" || string(again) != all {
		t.Errorf("%d authorities: %s", n, checkAuthorities(all))
	}
	if checkAuthorities("") == "" || checkAuthorities("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") == "" {
		t.Error("what is no certificate counts as one")
	}
	for secret, good := range map[string]bool{"a": true, "a b": true, "": false, "a\n": false, " a": false} {
		if (checkClient([]byte(secret)) == "") != good {
			t.Errorf("%q", secret)
		}
	}
}

// TestGuard: it lets people log in only where all is there that this needs, and what is demanded can be told apart.
func TestGuard(t *testing.T) {
	says := &v1alpha1.OIDC{RedirectPath: "/a", LogoutPath: "/b"}
	inner := &v1alpha1.OIDC{RedirectPath: "/c", LogoutPath: "/d", Cookie: &v1alpha1.OIDCCookie{Prefix: "x-"}}
	there := []room.Referent{{Text: Endpoints{Authorization: "https://a/auth", Token: "https://a/token"}.text()}, {}, {}}
	lacks := func(i int) []room.Referent {
		out := slices.Clone(there)
		out[i] = room.Referent{Problem: "it is not there"}
		return out
	}
	written := func(at room.Level, s *v1alpha1.OIDC) room.Written[v1alpha1.OIDC] {
		return room.Written[v1alpha1.OIDC]{Policy: "a/b", Level: at, Says: s}
	}
	one := []room.Written[v1alpha1.OIDC]{written(room.AtService, says)}
	two := append(slices.Clone(one), written(room.AtRoute, inner))
	same := append(slices.Clone(one), written(room.AtRoute, says))
	level := append(slices.Clone(one), written(room.AtService, inner))
	for name, c := range map[string]struct {
		said   []room.Written[v1alpha1.OIDC]
		found  [][]room.Referent
		logins int // 0: all are refused
	}{
		"all there": {one, [][]room.Referent{there}, 1}, "two levels": {two, [][]room.Referent{there, there}, 2},
		"two of one level": {level, [][]room.Referent{there, lacks(0)}, 1},
		"no endpoints":     {one, [][]room.Referent{lacks(0)}, 0}, "no client": {one, [][]room.Referent{lacks(1)}, 0}, "no session": {one, [][]room.Referent{lacks(2)}, 0},
		"nothing known": {one, [][]room.Referent{nil}, 0}, "endpoints that are none": {one, [][]room.Referent{{{Text: "{}"}, {}, {}}}, 0},
		"not all there of two levels": {two, [][]room.Referent{there, lacks(1)}, 0}, "not to be told apart": {same, [][]room.Referent{there, there}, 0},
	} {
		var names []string
		for _, f := range guard(c.said, c.found, room.Gateway) {
			names = append(names, f.Name)
		}
		want := []string{"envoy.filters.http.fault"}
		for i := range c.logins {
			want = append(want[:2*i], "envoy.filters.http.oauth2", "envoy.filters.http.lua")
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", name, names, want)
		}
	}
}

// TestClash: of one level, logins that differ in anything clash.
func TestClash(t *testing.T) {
	a := &v1alpha1.OIDC{ClientID: "a"}
	for want, b := range map[string]*v1alpha1.OIDC{
		"": {ClientID: "a"}, ".clientID": {ClientID: "b"}, ".provider": {ClientID: "a", Provider: v1alpha1.OIDCProvider{Issuer: "https://a"}}, ".scopes": {ClientID: "a", Scopes: []string{"x"}},
	} {
		if got := clash(a, b); got != want {
			t.Errorf("%+v: %q, want %q", b, got, want)
		}
	}
}
