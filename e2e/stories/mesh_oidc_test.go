package stories

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/stage"
)

const loginPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: people}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  oidc:
    provider: {issuer: "$ISSUER"}
    clientID: shop
    clientSecretRef: {name: login}
    scopes: [offline_access]
    forwardAccessToken: true
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: tokens}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  jwt: {providers: [{name: login, issuer: "$ISSUER", audiences: [shop], from: [{cookie: IdToken}], jwks: {remote: {uri: "$ISSUER/keys", refresh: 10s}}, claimHeaders: [{path: [sub], header: x-user}]}]}
`

const loginSecret = `
apiVersion: v1
kind: Secret
metadata: {name: login}
type: mesh.weft.dev/oidc-client
stringData: {client-secret: of the shop}
`

// logins is the story of a provider, and of an app behind a Gateway where people log in.
type logins struct {
	*stage.Scene
	t        *testing.T
	gateway  *stage.Gateway
	issuer   string
	provider string // IP of its pod
}

// customer is a browser, by its cookies.
type customer struct {
	*logins
	cookies map[string]string
}

// TestLogins has people log in at a real OpenID provider, for an app behind a Gateway. Before the client's secret is
// there nobody gets in; then a browser is sent to the provider and comes back, is known again, by new proxies and a
// restarted operator too, and logs out. What is no browser's is refused, and so is a login that another began.
func TestLogins(t *testing.T) {
	stage.Parallel(t)
	c := newLogins(t)
	c.Apply(strings.ReplaceAll(loginPolicy, "$ISSUER", c.issuer))
	c.becomes("nobody gets in without the client's secret", 503)
	c.Apply(loginSecret)
	c.Holds("people")
	c.Holds("tokens")
	c.becomes("browsers are sent to log in", 302)
	c.Step("who has not logged in is sent to the provider")

	ann := c.customer()
	at := ann.is("before the login", "/x?a=b", 302)
	back := ann.provided(at)
	c.customer().is("whose login another began", back, 401)
	if to := ann.is("back from the provider", back, 302); to != "http://echo.test/x?a=b" {
		t.Errorf("after the login a browser is sent to %q", to)
	}
	ann.is("after the login", "/x?a=b", 200)
	c.customer().is("of a script", "/x", 401, "Accept", "application/json")
	c.Step("who has logged in gets in, and nobody else")

	c.Remove(loginSecret)
	ann.becomes("without the client's secret nobody gets in", 503)
	c.Apply(loginSecret)
	ann.becomes("a session outlives that", 200)
	c.Step("it heals, and sessions go on")

	if to := ann.is("out", "/logout", 302); !strings.HasPrefix(to, c.issuer+"/") || !strings.Contains(to, "id_token_hint=") {
		t.Errorf("who logs out is sent to %q", to)
	}
	ann.is("after that", "/x", 302)
	c.Step("a session ends when its cookies are gone")
}

func newLogins(t *testing.T) *logins {
	t.Helper()
	c := &logins{Scene: stage.NewMeshed(t, "logins"), t: t}
	c.OnThisMachine()
	op, issuer := provider(t, c.Scene)
	echo(t, c.Scene, "echo", "declared", "{}")
	c.Apply(manifest(t, "mesh/gateway.yaml"))
	op.Rollout("provider")
	c.Rollout("echo")
	c.gateway, c.issuer, c.provider = c.Gateway("front"), issuer, op.Pod("provider").Status.PodIP
	c.becomes("the app is served", 200)
	return c
}

func (c *logins) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *logins) customer() *customer { return &customer{c, map[string]string{}} }

func (c *logins) becomes(what string, status int) { c.customer().becomes(what, status) }

var still = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// asks goes to a path at the Gateway, or to a URL of its host.
func (v *customer) asks(to string, headers ...string) (*http.Response, error) {
	to = strings.TrimPrefix(to, "http://echo.test")
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "http://"+v.gateway.At(80)+to, nil)
	if err != nil {
		return nil, err
	}
	request.Host = "echo.test"
	request.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range v.cookies {
		request.Header.Set("Cookie", strings.TrimPrefix(request.Header.Get("Cookie")+"; "+name+"="+value, "; "))
	}
	response, err := still.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	for _, cookie := range response.Cookies() {
		if v.cookies[cookie.Name] = cookie.Value; cookie.Value == "deleted" {
			delete(v.cookies, cookie.Name)
		}
	}
	return response, nil
}

// is asks, and demands a status.
func (v *customer) is(what, to string, status int, headers ...string) (location string) {
	v.t.Helper()
	response, err := v.asks(to, headers...)
	v.must(err)
	if response.StatusCode != status {
		v.t.Errorf("a request %s: %d, want %d", what, response.StatusCode, status)
	}
	return response.Header.Get("Location")
}

func (v *customer) becomes(what string, status int) {
	v.t.Helper()
	v.Until(time.Minute, what, func(context.Context) error {
		response, err := v.asks("/x")
		if err == nil && response.StatusCode != status {
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		return err
	})
}

// provided follows where the provider sends a browser, until it is sent back to the Gateway.
func (v *customer) provided(to string) string {
	v.t.Helper()
	for range 10 {
		u, err := url.Parse(to)
		v.must(err)
		if u.Host == "echo.test" {
			return to
		}
		u.Scheme, u.Host = "http", at(v.provider, 8080)
		response, err := still.Get(u.String())
		v.must(err)
		response.Body.Close()
		if to = response.Header.Get("Location"); to == "" {
			v.t.Fatalf("%s: %d, and no way on", u, response.StatusCode)
		}
	}
	v.t.Fatalf("the provider goes on to %s", to)
	return ""
}
