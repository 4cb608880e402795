package envoy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// demanded is a policy's section, of a level. A provider's inline keys are the name of a key set.
func demanded(t *testing.T, at room.Level, sets map[string]string, text string) room.Decided {
	t.Helper()
	says := &v1alpha1.JWT{}
	if err := yaml.UnmarshalStrict([]byte(text), says); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	d := room.Decided{Section: "jwt", Policy: fmt.Sprintf("shop/level-%d", at), Level: at, Says: says}
	for _, p := range says.Providers {
		if set := sets[p.JWKS.Inline]; set != "" {
			d.Referents = append(d.Referents, room.Referent{Text: set})
		} else {
			d.Referents = append(d.Referents, room.Referent{Problem: "it is not there"})
		}
	}
	return d
}

// provider is one, of which more may be said.
func provider(name, issuer, more string) string {
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf("{name: %s, issuer: %q, jwks: {inline: %s}%s}", name, issuer, name, more)
}

// op makes tokens for all of these tests.
type op struct {
	key  jwttest.Key
	says jwttest.Claims
}

func newOP(t *testing.T, name string) op {
	return op{jwttest.NewKey(t, name, "ES256"), jwttest.Claims{
		"iss": "https://" + name, "aud": []string{"shop", "other"}, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(),
	}}
}

func (o op) token(more jwttest.Claims) string { return o.key.Token(o.says.With(more)) }

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// guardedHost is a virtual host whose paths have guards.
func guardedHost(t *testing.T, paths map[string][]room.Decided) []mesh.VirtualHost {
	t.Helper()
	var text strings.Builder
	var guards [][]room.Decided
	for path, said := range paths {
		text.WriteString("- matches: [{path: {value: " + path + "}}]\n" + toA)
		guards = append(guards, said)
	}
	out := host(t, text.String())
	for i, said := range guards {
		out[0].Rules[i].Guards = said
	}
	return out
}

// TestTokens asks a real Envoy with tokens of each kind.
func TestTokens(t *testing.T) {
	t.Parallel()
	a, stranger := newOP(t, "a"), newOP(t, "a")
	sets := map[string]string{"a": jwttest.Set(a.key)}
	one := demanded(t, room.AtService, sets, "providers: ["+provider("a", "https://a", "audiences: [shop], claimHeaders: [{path: [sub], header: x-user}]")+"]")
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{"/": {one}})}.start(t)
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"valid":                     {a.token(nil), 200},
		"of one audience":           {a.token(jwttest.Claims{"aud": "shop"}), 200},
		"expired":                   {a.token(jwttest.Claims{"exp": now - 120}), 401},
		"not yet valid":             {a.token(jwttest.Claims{"nbf": now + 120}), 401},
		"of another issuer":         {a.token(jwttest.Claims{"iss": "https://b"}), 401},
		"of no issuer":              {a.token(jwttest.Claims{"iss": nil}), 401},
		"for another audience":      {a.token(jwttest.Claims{"aud": "other"}), 403},
		"for no audience":           {a.token(jwttest.Claims{"aud": nil}), 403},
		"by another's key":          {stranger.token(nil), 401},
		"without a signature":       {a.key.Headed(map[string]any{"alg": "none"}, a.says), 401},
		"of alg none, cut":          {cut(a.key.Headed(map[string]any{"alg": "none"}, a.says)), 401},
		"by a symmetric key":        {a.key.Headed(map[string]any{"alg": "HS256", "kid": "a"}, a.says), 401},
		"of another algorithm":      {a.key.Headed(map[string]any{"alg": "ES384", "kid": "a"}, a.says), 401},
		"by a key that is not here": {a.key.Headed(map[string]any{"alg": "ES256", "kid": "b"}, a.says), 401},
		"none":                      {"", 401},
		"of claims put in later":    {spliced(a.token(nil), a.token(jwttest.Claims{"sub": "eve"})), 401},
	} {
		response, got := g.send(t, "GET", "/", append(bearer(c.token), "x-user", "root")...)
		if response.StatusCode != c.status || (got.Backend == "a") != (c.status == 200) {
			t.Errorf("a token %s: %d, by the backend %q; want %d", name, response.StatusCode, got.Backend, c.status)
		}
		if user := got.Header.Values("x-user"); c.status == 200 && (len(user) != 1 || user[0] != "ann") {
			t.Errorf("a token %s: the app is told of the user %q", name, user)
		}
	}
	response, _ := g.send(t, "GET", "/")
	if response.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("without a token: %d, %v", response.StatusCode, response.Header)
	}
}

// TestTokensOfOddRequests: what has another form needs a token like all else; what has no path, or none with a slash, no
// rule takes, not even one that takes any.
func TestTokensOfOddRequests(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	one := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	hosts := host(t, "- matches: [{path: {type: RegularExpression, value: '.*'}}]\n"+toA)
	hosts[0].Rules[0].Guards = []room.Decided{one}
	g := world{endpoints: echoes(t, "a"), hosts: hosts}.start(t)
	for line, want := range map[string]string{
		"OPTIONS * HTTP/1.1": "404", "GET / HTTP/1.1": "401", "GET /%2e%2e HTTP/1.1": "401", "GET http://x/ HTTP/1.1": "401", "CONNECT x:80 HTTP/1.1": "404",
	} {
		for token, status := range map[string]string{"x": want, a.token(nil): ""} {
			answer := said(t, g.url, line+"\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nConnection: close\r\n\r\n")
			if status != "" && !strings.HasPrefix(answer, "HTTP/1.1 "+status+" ") || status == "" && strings.HasPrefix(answer, "HTTP/1.1 401 ") {
				t.Errorf("%s with %.10s: %.60q", line, token, answer)
			}
		}
	}
}

// said is what comes back for raw bytes.
func said(t *testing.T, url, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, text)
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func cut(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

// spliced has the claims of another token.
func spliced(token, other string) string {
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

// TestAlgorithms: a real Envoy verifies tokens of each.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	var keys []jwttest.Key
	for _, algorithm := range jwttest.Algorithms {
		keys = append(keys, jwttest.NewKey(t, algorithm, algorithm))
	}
	says := newOP(t, "a").says
	one := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(keys...)}, "providers: ["+provider("a", "https://a", "")+"]")
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{"/": {one}})}.start(t)
	for i, key := range keys {
		if response, _ := g.send(t, "GET", "/", bearer(key.Token(says))...); response.StatusCode != 200 {
			t.Errorf("%s: %d", key.Algorithm, response.StatusCode)
		}
		forged := key.Headed(map[string]any{"alg": keys[(i+1)%len(keys)].Algorithm, "kid": keys[(i+1)%len(keys)].ID}, says)
		if response, _ := g.send(t, "GET", "/", bearer(forged)...); response.StatusCode != 401 {
			t.Errorf("%s, which says that it is another: %d", key.Algorithm, response.StatusCode)
		}
	}
}

// TestTokenPlaces: where a token is looked for, and where it goes no further.
func TestTokenPlaces(t *testing.T) {
	t.Parallel()
	a, b := newOP(t, "a"), newOP(t, "b")
	sets := map[string]string{"a": jwttest.Set(a.key), "b": jwttest.Set(b.key)}
	from := "from: [{header: {name: X-Token}}, {header: {name: X-Prefixed, prefix: \"T=\"}}, {cookie: session}, {queryParam: token}]"
	headers := ", claimHeaders: [{path: [sub], header: X-User}, {path: [realm, roles], header: x-roles}]"
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/kept":     {demanded(t, room.AtRoute, sets, "providers: ["+provider("a", "https://a", from)+"]")},
		"/stripped": {demanded(t, room.AtRoute, sets, "providers: ["+provider("a", "https://a", "forward: false, "+from+headers)+", "+provider("b", "https://b", "claimHeaders: [{path: [sub], header: x-other}]")+"]")},
		"/mesh":     {demanded(t, room.AtMesh, sets, "providers: ["+provider("a", "https://a", "forward: false, "+from)+"]")},
	})}.start(t)
	token := a.token(jwttest.Claims{"realm": map[string]any{"roles": []string{"x"}}})
	for _, c := range []struct {
		path, header, value string
		status              int
		left                bool
	}{
		{"/kept", "x-token", token, 200, true},
		{"/kept", "x-prefixed", "T=" + token, 200, true},
		{"/kept", "x-prefixed", token, 401, false},
		{"/kept", "cookie", "a=b; session=" + token, 200, true},
		{"/kept", "authorization", "Bearer " + token, 401, false},
		{"/kept?token=" + token, "x-none", "1", 200, true},
		{"/kept?access_token=" + token, "x-none", "1", 401, false},
		{"/stripped", "x-token", token, 200, false},
		{"/stripped", "cookie", "session=" + token, 200, true},
		{"/stripped?a=b&token=" + token + "&c=d", "x-none", "1", 200, false},
		{"/mesh", "x-token", token, 200, true}, // the sidecar asks for it again
	} {
		response, got := g.send(t, "GET", c.path, c.header, c.value, "x-user", "root", "x-roles", "root", "x-other", "root")
		left := strings.Contains(got.Path+got.Header.Get(c.header), token)
		if response.StatusCode != c.status || left != c.left && c.status == 200 {
			t.Errorf("%s with %s: %d, the app has the token: %v; want %+v", c.path[:min(len(c.path), 20)], c.header, response.StatusCode, left, c)
		}
		if !strings.HasPrefix(c.path, "/stripped") {
			continue
		}
		if user, roles, other := got.Header.Get("x-user"), got.Header.Get("x-roles"), got.Header.Get("x-other"); user != "ann" || roles != "WyJ4Il0=" || other != "" {
			t.Errorf("%s: the app is told of %q, %q and %q", c.header, user, roles, other)
		}
		if strings.Contains(c.path, "a=b") && got.Path != "/stripped?a=b&c=d" {
			t.Errorf("the app is asked for %s", got.Path)
		}
	}
}
