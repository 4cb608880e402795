package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
)

// realProvider is zitadel's, as e2e/apps has it, at a port of this machine.
type realProvider struct {
	*testing.T
	port   uint32
	issuer string
}

func newRealProvider(t *testing.T) realProvider {
	t.Helper()
	program, ports := filepath.Join(t.TempDir(), "provider"), porttest.Free(t, 2)
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../e2e/apps/provider"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := realProvider{t, ports[0], fmt.Sprintf("http://provider.auth.svc:%d", ports[0])}
	command := exec.Command(program)
	command.Env = append(os.Environ(), "ISSUER="+p.issuer, fmt.Sprintf("ADDRESS=127.0.0.1:%d", ports[0]), fmt.Sprintf("CONTROL_ADDRESS=127.0.0.1:%d", ports[1]),
		"CLIENT_ID=shop", "CLIENT_SECRET="+shopSecret, "REDIRECT_URIS=http://echo.test/oauth2/callback")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	eventually(t, "the provider answers", func() bool { return status(p.at("/keys")) == 200 })
	return p
}

func (p realProvider) at(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path)
}

func (p realProvider) text(path string) string {
	p.Helper()
	response, err := http.Get(p.at(path))
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		p.Fatalf("%s: %d, %v", path, response.StatusCode, err)
	}
	return string(text)
}

// asks follows where a browser is sent, until it is sent away from the provider.
func (p realProvider) asks(to string) string {
	p.Helper()
	still := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 5 {
		to = strings.TrimPrefix(to, p.issuer)
		if !strings.HasPrefix(to, "/") {
			return to
		}
		response, err := still.Get(p.at(to))
		if err != nil {
			p.Fatal(err)
		}
		_ = response.Body.Close()
		to = response.Header.Get("Location")
	}
	p.Fatalf("the provider goes on to %q", to)
	return ""
}

// TestLoginAtProvider has people log in at a provider that nobody made for this test, by what it says of itself.
func TestLoginAtProvider(t *testing.T) {
	p := newRealProvider(t)
	way := &idp{T: t, host: fmt.Sprintf("http://localhost:%d", p.port)}
	login := way.says("shop/login", room.AtService, ", forwardAccessToken: true")
	endpoints, problem := oidc.Discovered(p.text("/.well-known/openid-configuration"), p.issuer)
	if problem != "" {
		t.Fatal(problem)
	}
	login.Referents[0].Text = endpoints
	keys := demanded(t, room.AtService, map[string]string{"a": p.text("/keys")}, fmt.Sprintf(
		"providers: [{name: a, issuer: %q, audiences: [shop], jwks: {inline: a}, from: [{cookie: IdToken}], claimHeaders: [{path: [sub], header: x-user}]}]", p.issuer))
	d := newDoors(t, way, login, keys)
	ann, bob := d.browser(), d.browser()
	to, _ := ann.is("before the login", "/x?a=b", 302, "Host", "echo.test")
	back := p.asks(to)
	others, _ := bob.is("before the login", "/x", 302, "Host", "echo.test")
	theirs, ours := query(t, p.asks(others)), query(t, back)
	bob.is("with a code that another asked for", "/oauth2/callback?"+url.Values{"code": {ours.Get("code")}, "state": {theirs.Get("state")}}.Encode(), 401, "Host", "echo.test")
	to, _ = ann.is("before the login", "/x?a=b", 302, "Host", "echo.test")
	if to, _ = ann.is("back from the provider", strings.TrimPrefix(p.asks(to), "http://echo.test"), 302, "Host", "echo.test"); to != "http://echo.test/x?a=b" {
		t.Errorf("after the login, people are sent to %q", to)
	}
	_, got := ann.is("after the login", "/x", 200, "Host", "echo.test")
	if got.Header.Get("X-User") != "id2" || !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer ") {
		t.Errorf("the app is told %v", got.Header)
	}
	if to, _ = ann.is("out", "/logout", 302, "Host", "echo.test"); !strings.HasPrefix(to, p.issuer+"/end_session?") {
		t.Errorf("whoever logs out is sent to %q", to)
	}
	bob.is("who has not logged in", "/x", 401, "Host", "echo.test", "Accept", "application/json")
}

func query(t *testing.T, to string) url.Values {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
