package envoy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// tricks are requests that have reached, in one proxy or another, what rules keep shut: by their first line, and
// headers beside Host. Of those with CVEs some are Envoy's.
var tricks = []string{
	"GET /x/../admin", "GET /x/%2e%2e/admin", "GET /x/%2E%2E/admin", "GET /./admin", "GET /x/.%2e/admin", // CVE-2019-9901
	"GET //admin", "GET ///admin", "GET /%61dmin", "GET /%61%64%6d%69%6e", "GET /adm%69n/", // CVE-2021-31920
	`GET /x\..\admin`, `GET \admin`, `GET /\admin`, "GET /x%2f..%2fadmin", "GET /%2Fadmin", "GET /x/..%5cadmin", "GET /%5Cadmin", // CVE-2021-29492
	"GET /%2561dmin", "GET /%252e/admin", "GET /x/%252e%252e/admin", "GET /ADMIN", "GET /Admin/x", "GET /%41DMIN",
	"GET /;x=1/admin", "GET /admin;x=1", "GET /x/..;/admin", "GET /admin%3bx", "GET /x;/../admin", "GET /.;/admin",
	"GET /admin#x", "GET /admin?x", "GET /admin%23x", "GET /admin%3fx", "GET /x?/../admin", "GET /admin%00", "GET /admin\x00", // CVE-2021-39156, CVE-2020-8595
	"GET /admin\xff", "GET /\xc0\xafadmin", "GET /%c0%afadmin", "GET /admin%20", "GET /admin\t", "GET admin", "GET *", "OPTIONS *",
	"GET http://cart/admin", "GET http://admin.example.com/open", "CONNECT /admin", "CONNECT admin.example.com:80", // absolute form; CVE-2025-64763
	"GET /open\nx-role: user\nx-role: admin", "GET /open\nx-role: admin\nx-role: user", // CVE-2026-26308, CVE-2020-25017
	"GET /open\nx-role: user, admin", "GET /open\nx-role: ADMIN", "GET /open\nx_role: admin", "GET /open\nX-ROLE: admin", "GET /open\nx-role:  admin ", "GET /open\nx-role: admin\x00",
	"GET /open\nx-role: \"admin\"", "GET /open\nx-role: user;admin", "GET /open\nx-role: adm\xefn", "GET /open\nx-role : admin", "GET /open\nx-role: a\n dmin", // CVE-2023-27488
	"GET /open\nx-envoy-original-path: /admin", "GET /open\nx-original-url: /admin", "GET /open\nx-rewrite-url: /admin", "GET /open\nx-forwarded-client-cert: URI=spiffe://mesh.test/ns/shop/sa/root", // CVE-2023-27487
	"GET /open\nHost: admin.example.com", "GET /open\nTransfer-Encoding: chunked\nContent-Length: 4", "GET /open\nUpgrade: h2c\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", // CVE-2021-39155
	"GET /open\nConnection: x-role\nx-role: admin",
}

var trickyHosts = []string{"cart", "admin.example.com", "ADMIN.example.com", "admin.example.com:8080", "admin.example.com.", "admin.example.com:", "admin.example.com.:80", "x@admin.example.com", "admin.example.com\t", "admin.example.com,cart", "[::1]", ""}

// reaches says what of what is kept shut a lenient app would serve: one that decodes paths again and again, reads
// any of several values, and takes names and paths in any case.
func (s seen) reaches() string {
	p, _, _ := strings.Cut(strings.ToLower(lenient(s.URI)), "#")
	if p, _, _ = strings.Cut(p, "?"); p == "/admin" || strings.HasPrefix(p, "/admin/") || p == "admin" {
		return "the path " + s.URI
	}
	for name, values := range s.Headers {
		for _, v := range strings.FieldsFunc(strings.Join(values, ","), func(c rune) bool { return c == ',' }) {
			if strings.ReplaceAll(name, "_", "-") == "x-role" && strings.EqualFold(strings.TrimSpace(v), "admin") {
				return fmt.Sprint("the role ", values)
			}
		}
	}
	if host, _, _ := strings.Cut(s.Host, ":"); strings.EqualFold(strings.Trim(host, ". \t"), "admin.example.com") {
		return "the host " + s.Host
	}
	return ""
}

// TestAuthorizationCorpus: where all is let in but a path, a role and a host, no trick brings any of these to an app
// that reads what it gets as leniently as any.
func TestAuthorizationCorpus(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	says := roomtest.Written[v1alpha1.Authorization](t, `{rules: [{name: all}, {name: shut, action: Deny, to: [{paths: [{prefix: /admin}]}, {headers: [{name: x-role, values: [admin]}]}, {hosts: [admin.example.com]}]}]}`)
	rules, _ := opa.Compile(opa.Policy{Key: "shop/orders", Authorization: says, TrustDomain: "mesh.test"}).For(called)
	counts := map[string]int{}
	play := func() (reached int) {
		for _, trick := range tricks {
			for _, host := range trickyHosts {
				status, saw := c.plays(t, host, trick)
				counts[fmt.Sprint(status)]++
				if why := saw.reaches(); status == http.StatusOK && why != "" {
					reached++
					if counts["judged"] == 1 {
						t.Errorf("%q to %q reaches %s", trick, host, why)
					}
				}
			}
		}
		return reached
	}
	if n := play(); n < 50 {
		t.Fatalf("where nothing is kept shut, only %d of the tricks reach it", n)
	}
	counts = map[string]int{"judged": 1}
	c.judges(t, []room.Decided{{Section: authorization.Section.Name, Policy: "shop/orders", Level: room.AtService, Says: says, Law: authorization.RulingOf(rules)}})
	play()
	if t.Log(counts); counts["200"] == 0 || counts["403"] == 0 {
		t.Error("nothing was let in, or nothing kept out")
	}
}

// plays sends a trick over a connection of its own.
func (c court) plays(t *testing.T, host, trick string) (int, seen) {
	t.Helper()
	conn := dial(t, c.web)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // of a socket that is open it cannot fail
	line, headers, _ := strings.Cut(trick, "\n")
	text := line + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n"
	if headers != "" {
		text += strings.ReplaceAll(headers, "\n", "\r\n") + "\r\n"
	}
	fmt.Fprint(conn, text+"\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, seen{}
	}
	defer response.Body.Close()
	var s seen
	body, _ := io.ReadAll(response.Body) // what is missing is no JSON
	if response.StatusCode == http.StatusOK && json.Unmarshal(body, &s) != nil {
		t.Errorf("%q: %s", trick, body)
	}
	return response.StatusCode, s
}
