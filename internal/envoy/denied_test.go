package envoy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// lineOf waits for the line of an access log about a path, with default settings: what is denied is in it.
func lineOf(t *testing.T, g *gateway, path string) (line map[string]any) {
	t.Helper()
	eventually(t, "the access log has a line of "+path, func() bool {
		for text := range strings.Lines(g.log.String()) {
			fields := map[string]any{}
			if json.Unmarshal([]byte(text), &fields) == nil && fields["path"] == path {
				line = fields
			}
		}
		return line != nil
	})
	return line
}

// tellsOnlyID wants an answer that denies to tell the ID of its line in the log, and nothing about why.
func tellsOnlyID(t *testing.T, response *http.Response, body string, line map[string]any) {
	t.Helper()
	id := response.Header.Get("x-request-id")
	if id == "" || line["request_id"] != id {
		t.Errorf("%d with the ID %q, and in the log %v", response.StatusCode, id, line)
	}
	for name, values := range response.Header {
		if strings.Contains(fmt.Sprint(name, values, body), "shop/") {
			t.Errorf("the caller is told %s: %v, %s", name, values, body)
		}
	}
}

// TestDeniedIDAtGateways: who a Gateway denies, for want of a token or by a rule, is told by which ID the log has
// the policy; what an app answers is told nothing more.
func TestDeniedIDAtGateways(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	tokens := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/rule":  {ruled(t, room.AtService, `{rules: [{name: r}, {name: d, action: Deny, to: [{paths: [{prefix: /rule/secret}]}]}]}`)},
		"/token": {tokens},
	})}.start(t)
	for path, status := range map[string]int{"/rule/secret": 403, "/token/a": 401} {
		for _, kind := range []string{"", "application/grpc"} {
			at := path + "/" + strings.TrimPrefix(kind, "application/")
			response, body := receive(t, g.request(t, "POST", at, "Content-Type", kind, "x-request-id", "forged"))
			if response.StatusCode != status && kind == "" {
				t.Errorf("%s: %d", at, response.StatusCode)
			}
			line := lineOf(t, g, at)
			tellsOnlyID(t, response, string(body), line)
			if line["request_id"] == "forged" {
				t.Errorf("a client chose the ID: %v", line)
			}
			if status == 403 && (line["policy"] != "shop/front/d" || line["policy_result"] != "denied") {
				t.Errorf("the log has no rule: %v", line)
			}
		}
	}
	if response, _ := g.send(t, "GET", "/rule/a"); response.StatusCode != 200 || response.Header.Get("x-request-id") != "" {
		t.Errorf("of what is let in: %d, %v", response.StatusCode, response.Header)
	}
}

// TestDeniedIDAtPods: the same of the pods that are called. The ID is that by which callers' proxies know the request.
func TestDeniedIDAtPods(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	says := roomtest.Written[v1alpha1.Authorization](t, `{rules: [{name: open, to: [{paths: [{prefix: /open}]}]}]}`)
	rules, problems := opa.Compile(opa.Policy{Key: "shop/orders", Authorization: says, TrustDomain: "mesh.test"}).For(called)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c.judges(t, []room.Decided{{Section: authorization.Section.Name, Policy: "shop/orders", Level: room.AtPort, Says: says, Law: authorization.RulingOf(rules)}})
	ask := func(path string) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.web, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("x-request-id", "5f1b2c3d")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}
	response, body := ask("/shut")
	line := lineOf(t, c.gateway, "/shut")
	if tellsOnlyID(t, response, body, line); response.StatusCode != 403 || line["request_id"] != "5f1b2c3d" || !strings.Contains(fmt.Sprint(line["details"]), "[none]") {
		t.Errorf("%d, %v", response.StatusCode, line)
	}
	if response, _ := ask("/open"); response.StatusCode != 200 || response.Header.Get("x-request-id") != "" {
		t.Errorf("of what is let in: %d, %v", response.StatusCode, response.Header)
	}
}
