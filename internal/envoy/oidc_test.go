package envoy_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	shopSecret   = "the shop's own secret"
	sealedSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// idp is an OpenID provider that checks all that one should.
type idp struct {
	*testing.T
	key      jwttest.Key
	host     string
	trusted  []byte // in PEM
	mu       sync.Mutex
	codes    map[string]url.Values // by what a code was asked for
	tokens   map[string]bool       // to refresh by
	lifetime time.Duration
	pad      string // of ID tokens
	gave     int
	away     bool
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	own := keyPair(t, "localhost")
	certificate, err := tls.X509KeyPair(own.Chain, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{T: t, key: jwttest.NewKey(t, "a", "ES256"), host: "https://localhost:" + port, trusted: own.Chain, codes: map[string]url.Values{}, tokens: map[string]bool{}, lifetime: time.Hour}
	server := &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

// asks is where a browser was sent to log in: it is told the code of somebody who did.
func (p *idp) asks(location string) (back string) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, p.host+"/authorize?") {
		p.Fatalf("%q is not where to log in: %v", location, err)
	}
	q := u.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("client_id") != "shop" || q.Get("scope") != "openid offline_access" {
		p.Errorf("asked for %v", q)
	}
	code := fmt.Sprintf("code-%d", len(p.codes))
	p.codes[code] = q
	return q.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

func (p *idp) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	if p.away || r.URL.Path != "/token" || !basic || id != "shop" || secret != shopSecret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	ok := false
	switch r.FormValue("grant_type") {
	case "authorization_code":
		asked := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		ok = asked != nil && asked.Get("code_challenge") == base64.RawURLEncoding.EncodeToString(sum[:]) && asked.Get("redirect_uri") == r.FormValue("redirect_uri")
	case "refresh_token":
		ok = p.tokens[r.FormValue("refresh_token")]
	}
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.gave++
	refresh := fmt.Sprintf("refresh-%d", p.gave)
	p.tokens = map[string]bool{refresh: true}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": fmt.Sprintf("access-%d", p.gave), "refresh_token": refresh, "token_type": "Bearer", "expires_in": int(p.lifetime.Seconds()),
		"id_token": p.key.Token(jwttest.Claims{"iss": p.host, "aud": "shop", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "pad": p.pad}),
	})
}

// says is a policy's section about it.
func (p *idp) says(policy string, at room.Level, more string) room.Decided {
	p.Helper()
	s := &v1alpha1.OIDC{RedirectPath: "/oauth2/callback", LogoutPath: "/logout"}
	text := fmt.Sprintf("{provider: {authorizationEndpoint: '%[1]s/authorize', tokenEndpoint: '%[1]s/token', endSessionEndpoint: '%[1]s/end'}, clientID: shop, clientSecretRef: {name: a}, scopes: [offline_access]%s}", p.host, more)
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		p.Fatal(err)
	}
	endpoints, problem := oidc.Discovered(fmt.Sprintf(`{"issuer": %[1]q, "authorization_endpoint": "%[1]s/authorize", "token_endpoint": "%[1]s/token", "end_session_endpoint": "%[1]s/end"}`, p.host), p.host)
	if problem != "" && p.codes != nil {
		p.Fatal(problem)
	}
	return room.Decided{Section: "oidc", Policy: policy, Level: at, Says: s, Referents: []room.Referent{{Text: endpoints}, {}, {}}}
}

// cluster is the way to it.
func (p *idp) cluster(policy string) proto.Message {
	token, ok := oidc.ParseToken(p.host + "/token")
	if !ok {
		p.Fatal(p.host)
	}
	return envoy.LoginCluster(mesh.LoginCluster{Name: oidc.Cluster(policy), Policy: policy, Token: token, Authorities: p.trusted})
}

// doors is a gateway with logins.
type doors struct {
	*gateway
	*testing.T
	store *xds.Store
}

const doorRules = `[{matches: [{path: {value: /x}}], backendRefs: [{name: service/shop/cart/80}]}]`

// newDoors starts a gateway of which only /x is routed, guarded by what is said.
func newDoors(t *testing.T, p *idp, guards ...room.Decided) *doors {
	t.Helper()
	own, store, ports := served(t, 4)
	const at = "gateway/shop/web/80"
	backend := echoes(t, "service/shop/cart/80")
	d := &doors{T: t, store: store}
	commit(store, map[string]proto.Message{
		at:                     envoy.Listener(mesh.Listener{Name: at, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: at}}}),
		"service/shop/cart/80": envoy.Cluster(mesh.Cluster{Name: "service/shop/cart/80", Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		"service/shop/cart/80": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/80", Addresses: backend["service/shop/cart/80"]}),
		at:                     envoy.RouteConfiguration(at),
	})
	d.guards(guards...)
	for _, g := range guards {
		commit(store, map[string]proto.Message{oidc.Cluster(g.Policy): p.cluster(g.Policy)}, loginSecrets(g.Policy, shopSecret))
	}
	d.gateway = run(t, bootstrap(t, own), 0)
	d.url, d.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[3]), fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	d.ready = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	eventually(t, "the proxy is ready", func() bool { return status(d.ready+envoy.ReadyPath) == 200 })
	eventually(t, "the proxy has the secrets", func() bool {
		response, _ := d.browser().goes("/x")
		return response.StatusCode == 302
	})
	return d
}

func loginSecrets(policy, client string) map[string]proto.Message {
	names := oidc.Secrets(policy)
	return map[string]proto.Message{
		names[0]: envoy.GenericSecret(names[0], []byte(client)), names[1]: envoy.GenericSecret(names[1], []byte(sealedSecret)),
	}
}

// guards has the rule guarded by what is said.
func (d *doors) guards(said ...room.Decided) {
	d.Helper()
	v := virtualHost(d.T, "gateway/shop/web/80", "*", doorRules)
	v.Rules[0].Guards = said
	commit(d.store, map[string]proto.Message{v.Name(): envoy.VirtualHost(v)})
}

// browser keeps cookies, follows nothing, and takes HTML.
type browser struct {
	*doors
	cookies map[string]string
}

func (d *doors) browser() *browser { return &browser{d, map[string]string{}} }

// goes asks for a path, or for a URL of the gateway's.
func (b *browser) goes(to string, headers ...string) (*http.Response, echo) {
	b.Helper()
	to = strings.TrimPrefix(to, b.url)
	if !slices.Contains(headers, "Accept") {
		headers = append(headers, "Accept", "text/html,*/*;q=0.8")
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		all = append(all, name+"="+b.cookies[name])
	}
	if len(all) > 0 {
		headers = append(headers, "Cookie", strings.Join(all, "; "))
	}
	response, got := b.send(b.T, "GET", to, headers...)
	for _, c := range response.Cookies() {
		if b.cookies[c.Name] = c.Value; c.Value == "deleted" {
			delete(b.cookies, c.Name)
			continue
		}
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			b.Errorf("cookie %s", c.Raw)
		}
	}
	return response, got
}

// is asks, and demands a status.
func (b *browser) is(what, to string, want int, headers ...string) (location string, got echo) {
	b.Helper()
	response, got := b.goes(to, headers...)
	if response.StatusCode != want || (got.Backend != "") != (want == 200) {
		b.Errorf("%s: %d, by the backend %q; want %d", what, response.StatusCode, got.Backend, want)
	}
	return response.Header.Get("Location"), got
}

// logsIn at a provider, as somebody who asked for a path.
func (b *browser) logsIn(p *idp, path string) {
	b.Helper()
	at, _ := b.is("before the login", path, 302)
	to, _ := b.is("back from the provider", p.asks(at), 302)
	if to != b.url+path {
		b.Errorf("after the login, people are sent to %q", to)
	}
}

// TestLogin has a real Envoy have people log in, by a code with PKCE, and know them again.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	keys := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(p.key)}, "providers: ["+
		fmt.Sprintf("{name: a, issuer: %q, audiences: [shop], jwks: {inline: a}, from: [{cookie: IdToken}], claimHeaders: [{path: [sub], header: x-user}]}", p.host)+"]")
	d := newDoors(t, p, p.says("shop/login", room.AtService, ", forwardAccessToken: true"), keys)
	ann := d.browser()
	ann.logsIn(p, "/x?a=b")
	for name, value := range ann.cookies {
		if strings.Contains(value, "access-") || strings.Contains(value, "refresh-") || strings.Count(value, ".") == 2 {
			t.Errorf("cookie %s has a token: %q", name, value)
		}
	}
	ann.cookies["a"], ann.cookies["OauthHMACs"] = "b", "c"
	_, got := ann.is("after the login", "/x", 200, "Authorization", "Bearer mine", "x-user", "root")
	delete(ann.cookies, "a")
	delete(ann.cookies, "OauthHMACs")
	if got.Header.Get("Authorization") != "Bearer access-1" || got.Header.Get("X-User") != "ann" {
		t.Errorf("the app is told %v", got.Header)
	}
	if c := strings.Join(got.Header.Values("Cookie"), "; "); strings.Contains(c, "access-") || strings.Contains(c, "refresh-") || !strings.Contains(c, "a=b") || !strings.Contains(c, "IdToken=ey") || !strings.Contains(c, "OauthHMACs=c") {
		t.Errorf("the app has the cookies %q", c)
	}
	ann.is("of what no rule takes", "/y", 404)
	ann.is("at the way back, without a code", "/oauth2/callback", 401)
	d.secretly(t)

	mallory := d.browser()
	mallory.cookies = maps.Clone(ann.cookies)
	p.mu.Lock()
	p.tokens = nil // or a forged session would be refreshed
	p.mu.Unlock()
	mallory.is("with all of a session", "/x", 200)
	for _, name := range []string{"OauthHMAC", "OauthExpires", "BearerToken", "IdToken"} {
		mallory.cookies[name] = "9" + ann.cookies[name]
		mallory.is("with a forged "+name, "/x", 401, "Accept", "*/*")
		mallory.cookies[name] = ann.cookies[name]
	}
	at, _ := ann.is("out", "/logout", 302)
	if u, err := url.Parse(at); err != nil || !strings.HasPrefix(at, p.host+"/end?") || u.Query().Get("client_id") != "shop" || strings.Count(u.Query().Get("id_token_hint"), ".") != 2 || u.Query().Get("post_logout_redirect_uri") != d.url+"/" {
		t.Errorf("whoever logs out is sent to %q", at)
	}
	if len(ann.cookies) > 0 {
		t.Errorf("what is left of a session is %v", ann.cookies)
	}
	ann.is("after that", "/x", 302)
}

// secretly looks for secrets in what the proxy tells of its configuration, and in its log.
func (d *doors) secretly(t *testing.T) {
	t.Helper()
	response, err := http.Get(d.admin + "/config_dump?include_eds")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	dump, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(dump), "login/shop/login/client") {
		t.Fatalf("the dump has no login: %v", err)
	}
	for _, secret := range []string{shopSecret, sealedSecret, "access-1", "refresh-1"} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
			if strings.Contains(string(dump), form) || strings.Contains(d.log.String(), form) {
				t.Errorf("the dump, or the log, has %q", form)
			}
		}
	}
}

// TestLoginRefusals: who did not begin a login does not end it, and what is no browser's is not sent to log in.
func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	d := newDoors(t, p, p.says("shop/login", room.AtService, ""))
	ann := d.browser()
	at, _ := ann.is("before the login", "/x", 302)
	back := p.asks(at)
	d.browser().is("whose login another began", back, 401)
	u, _ := url.Parse(back)
	q := u.Query()
	state, _ := base64.RawURLEncoding.DecodeString(q.Get("state"))
	for what, wrong := range map[string]string{
		"none": "", "nonsense": "x",
		"another path": base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(state), `"csrf_token":"`, `"csrf_token":"0`, 1))),
	} {
		ann.is("with a state that is "+what, "/oauth2/callback?"+url.Values{"code": {q.Get("code")}, "state": {wrong}}.Encode(), 401)
	}
	ann.is("with a code that is none", "/oauth2/callback?"+url.Values{"code": {"x"}, "state": {q.Get("state")}}.Encode(), 401)
	ann.is("that the provider refused", "/oauth2/callback?"+url.Values{"error": {"access_denied"}, "state": {q.Get("state")}}.Encode(), 401)
	ann.is("whose login has failed", back, 401)
	ann.logsIn(p, "/x")
	_, got := ann.is("after the login", "/x", 200, "Authorization", "Bearer mine")
	if got.Header.Get("Authorization") != "" {
		t.Errorf("the app has %q, by whom is not known", got.Header.Get("Authorization"))
	}
	stranger := d.browser()
	for _, headers := range [][]string{
		{"Accept", "application/json"}, {"Accept", "*/*"}, {"Accept", ""}, {"X-Requested-With", "XMLHttpRequest"},
		{"Accept", "*/*", "Cookie", "OauthHMAC=x; OauthExpires=9999999999; BearerToken=y"},
	} {
		at, _ := stranger.is(fmt.Sprint("with ", headers), "/x", 401, headers...)
		if at != "" || len(stranger.cookies) > 0 {
			t.Errorf("%v: is sent to %q, with the cookies %v", headers, at, stranger.cookies)
		}
	}
	stranger.is("of another path, not routed", "/y", 404)
	p.mu.Lock()
	p.away = true
	p.mu.Unlock()
	at, _ = stranger.is("while the provider is away", "/x", 302)
	stranger.is("back from a provider that gives no token", p.asks(at), 401)
	stranger.is("after that", "/x", 302)
	ann.is("who is known", "/x", 200)
}

// TestLoginRefreshed: a session goes on by a refresh token, a script's too, and ends where the provider says no. A token
// may be larger than a cookie.
func TestLoginRefreshed(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	p.lifetime, p.pad = 2*time.Second, strings.Repeat("x", 6000)
	d := newDoors(t, p, p.says("shop/login", room.AtService, ", forwardAccessToken: true"))
	ann := d.browser()
	ann.logsIn(p, "/x")
	_, got := ann.is("after the login", "/x", 200)
	if _, id, _ := strings.Cut(got.Header.Get("Cookie"), "IdToken=ey"); len(id) < 8000 || strings.Contains(got.Header.Get("Cookie"), "refresh-") {
		t.Errorf("the app has the cookies %.200q, %d bytes", got.Header.Get("Cookie"), len(got.Header.Get("Cookie")))
	}
	for name, value := range ann.cookies {
		if len(name)+len(value) > 4096 {
			t.Errorf("cookie %s has %d bytes", name, len(value))
		}
	}
	eventually(t, "the session is refreshed", func() bool {
		_, got := ann.is("all along", "/x", 200, "Accept", "*/*")
		return got.Header.Get("Authorization") == "Bearer access-2"
	})
	p.mu.Lock()
	p.tokens = nil
	p.mu.Unlock()
	eventually(t, "the session ends", func() bool {
		response, _ := ann.goes("/x", "Accept", "*/*")
		return response.StatusCode == 401
	})
	ann.logsIn(p, "/x")
	ann.is("who logged in again", "/x", 200)
}

// TestLoginLacking: without what it needs nobody is let in, and it heals.
func TestLoginLacking(t *testing.T) {
	t.Parallel()
	p, other := newIDP(t), keyPair(t, "localhost")
	whole := p.says("shop/login", room.AtService, "")
	d := newDoors(t, p, whole)
	ann := d.browser()
	ann.logsIn(p, "/x")
	for i := range whole.Referents {
		lacking := whole
		lacking.Referents = slices.Clone(whole.Referents)
		lacking.Referents[i] = room.Referent{Problem: "it is not there"}
		d.guards(lacking)
		eventually(t, "nobody is let in", func() bool {
			response, _ := ann.goes("/x")
			return response.StatusCode == 503
		})
		ann.is("at the way back", "/oauth2/callback?code=x", 503)
		d.guards(whole)
		eventually(t, "who is known is let in", func() bool {
			response, _ := ann.goes("/x")
			return response.StatusCode == 200
		})
	}
	p.trusted = other.Chain
	commit(d.store, map[string]proto.Message{oidc.Cluster("shop/login"): p.cluster("shop/login")})
	bob := d.browser()
	eventually(t, "a provider that nobody vouches for is told no code", func() bool {
		bob = d.browser() // who logs in before the proxy knows stays logged in
		at, _ := bob.is("before the login", "/x", 302)
		response, _ := bob.goes(p.asks(at))
		return response.StatusCode != 302
	})
	bob.is("who is not known", "/x", 302)
}

// TestLoginLevels: both levels' logins are needed; two that cannot be told apart let nobody in.
func TestLoginLevels(t *testing.T) {
	t.Parallel()
	p, q := newIDP(t), newIDP(t)
	outer := p.says("shop/outer", room.AtService, "")
	inner := q.says("shop/inner", room.AtRoute, ", redirectPath: /inner/callback, logoutPath: /inner/logout, cookie: {prefix: inner-}")
	d := newDoors(t, p, outer, inner)
	commit(d.store, map[string]proto.Message{oidc.Cluster("shop/inner"): q.cluster("shop/inner")})
	eventually(t, "the other provider is known", func() bool {
		ann := d.browser()
		ann.logsIn(p, "/x")
		at, _ := ann.is("who logged in at one of two", "/x", 302)
		if response, _ := ann.goes(q.asks(at)); response.StatusCode != 302 {
			return false
		}
		ann.is("who logged in at both", "/x", 200)
		for name := range ann.cookies {
			if !strings.HasPrefix(name, "inner-") {
				delete(ann.cookies, name)
			}
		}
		ann.is("who logged in at the inner only", "/x", 401, "Accept", "*/*")
		return true
	})
	for _, more := range []string{"", ", redirectPath: /b, logoutPath: /c", ", cookie: {prefix: b}", ", logoutPath: /c, cookie: {prefix: b}", ", redirectPath: /b, cookie: {prefix: b}"} {
		d.guards(outer, q.says("shop/inner", room.AtRoute, more))
		ann := d.browser()
		eventually(t, "nobody is let in", func() bool {
			response, _ := ann.goes("/x")
			return response.StatusCode == 503
		})
	}
	d.guards(outer, q.says("shop/newer", room.AtService, ", redirectPath: /b"))
	ann := d.browser()
	eventually(t, "of one level the older holds", func() bool {
		response, _ := ann.goes("/x")
		return response.StatusCode == 302
	})
	ann.logsIn(p, "/x")
	ann.is("of one level", "/x", 200)
}
