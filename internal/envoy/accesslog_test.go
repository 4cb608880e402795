package envoy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
)

func logging(t v1alpha1.Telemetry) logs {
	return logs{
		callerHTTP: envoy.HTTPLogs(envoy.Source, t), callerTCP: envoy.TCPLogs(envoy.Source, t),
		appHTTP: envoy.HTTPLogs(envoy.Destination, t), appTCP: envoy.TCPLogs(envoy.Destination, t),
	}
}

var everything = v1alpha1.Telemetry{AccessLogs: v1alpha1.AccessLogSampled, SamplePercent: new(int32(100))}

// logged are the lines of an access log, as objects.
func logged(e *envoytest.Envoy) (lines []map[string]any) {
	for line := range strings.Lines(e.Log()) {
		object := map[string]any{}
		if json.Unmarshal([]byte(line), &object) == nil {
			lines = append(lines, object)
		}
	}
	return lines
}

// wrote waits for a line with these fields. A field that is wanted empty must be absent.
func wrote(t *testing.T, e *envoytest.Envoy, fields map[string]any) map[string]any {
	t.Helper()
	var found map[string]any
	e.Until(fmt.Sprintf("a line of the access log has %v", fields), func() bool {
		for _, line := range logged(e) {
			matches := true
			for name, want := range fields {
				matches = matches && (fmt.Sprint(line[name]) == fmt.Sprint(want) || want == "" && line[name] == nil)
			}
			if matches {
				found = line
			}
		}
		return found != nil
	})
	return found
}

// rules deny /denied, and would deny /shadowed.
func rules403() *httprbacv3.RBAC {
	return &httprbacv3.RBAC{Rules: denies("no-denied", "/denied"), ShadowRules: denies("no-shadowed", "/shadowed")}
}

func denies(name, path string) *rbacv3.RBAC {
	at := &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: &routev3.HeaderMatcher{Name: ":path",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: path}}}}}}
	return &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{
		name: {Permissions: []*rbacv3.Permission{at}, Principals: []*rbacv3.Principal{anyone}},
	}}
}

var anyone = &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}}

func TestAccessLogs(t *testing.T) {
	l := logging(everything)
	l.httpRules = rules403()
	h := startHop(t, l, stockApp(t, nil), greeter(t))
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	post(t, h, "/?secret=1", "traceparent", trace)
	post(t, h, "/denied")
	post(t, h, "/shadowed")
	for e, side := range map[*envoytest.Envoy]string{h.caller: "source", h.app: "destination"} {
		line := wrote(t, e, map[string]any{
			"reporter": side, "source_principal": callerID, "destination_principal": appID, "tls_version": "TLSv1.3",
			"method": "POST", "path": "/", "status": 200, "route": "httproute/stock/stock/0/0", "traceparent": trace,
		})
		for _, name := range []string{"client", "destination", "upstream", "request_id", "cluster"} {
			if line[name] == nil {
				t.Errorf("%s: no %s in %v", side, name, line)
			}
		}
		if strings.Contains(fmt.Sprint(line), "secret") {
			t.Errorf("%s: a query string is in %v", side, line)
		}
	}
	wrote(t, h.app, map[string]any{"path": "/denied", "status": 403, "policy": "no-denied", "policy_result": "denied",
		"details": "rbac_access_denied_matched_policy[no-denied]", "source_principal": callerID})
	wrote(t, h.app, map[string]any{"path": "/shadowed", "status": 200, "shadow_policy": "no-shadowed", "shadow_result": "denied", "policy_result": "allowed"})
}

// modes are what each has the two sides of a hop log of three requests: one that the app answers, one
// that a policy denies, one that no Cluster takes.
var modes = map[v1alpha1.AccessLogMode]struct{ caller, app string }{
	v1alpha1.AccessLogOff:     {"", ""},
	"":                        {"/nowhere", "/denied"},
	v1alpha1.AccessLogErrors:  {"/nowhere", "/denied"},
	v1alpha1.AccessLogSampled: {"/ /denied /nowhere", "/ /denied"},
}

func TestAccessLogModes(t *testing.T) {
	for mode, want := range modes {
		l := logging(v1alpha1.Telemetry{AccessLogs: mode})
		if mode == v1alpha1.AccessLogSampled {
			l = logging(everything)
		}
		l.httpRules = rules403()
		l.callerTCP, l.appTCP = logging(everything).callerTCP, logging(everything).appTCP
		h := startHop(t, l, stockApp(t, nil), greeter(t))
		for _, path := range []string{"/", "/denied", "/nowhere"} {
			post(t, h, path)
		}
		echoed(t, h) // what is logged after the requests shows that they have been
		for e, want := range map[*envoytest.Envoy]string{h.caller: want.caller, h.app: want.app} {
			wrote(t, e, map[string]any{"protocol": "TCP"})
			var got []string
			for _, line := range logged(e) {
				if line["path"] != nil {
					got = append(got, fmt.Sprint(line["path"]))
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%q: logged %v, want %q", mode, got, want)
			}
		}
	}
}

// Both proxies of a request log it, or neither does.
func TestSampledLogsAgree(t *testing.T) {
	l := logging(v1alpha1.Telemetry{AccessLogs: v1alpha1.AccessLogSampled, SamplePercent: new(int32(50))})
	l.callerTCP, l.appTCP = logging(everything).callerTCP, logging(everything).appTCP
	h := startHop(t, l, stockApp(t, nil), greeter(t))
	const requests = 60
	for range requests {
		post(t, h, "/")
	}
	echoed(t, h)
	ids := map[*envoytest.Envoy][]string{}
	for _, e := range []*envoytest.Envoy{h.caller, h.app} {
		wrote(t, e, map[string]any{"protocol": "TCP"})
		for _, line := range logged(e) {
			if id, is := line["request_id"].(string); is {
				ids[e] = append(ids[e], id)
			}
		}
	}
	if n := len(ids[h.caller]); n == 0 || n == requests || !slices.Equal(ids[h.caller], ids[h.app]) {
		t.Errorf("of %d requests the caller's proxy logged\n%v\nthe app's\n%v", requests, ids[h.caller], ids[h.app])
	}
}

// echoed has the app behind the TCP port give back five bytes, after its greeting.
func echoed(t *testing.T, h hop) {
	t.Helper()
	c := dial(t, h.tcp)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != greeting+"hello" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestTCPAccessLogs(t *testing.T) {
	h := startHop(t, logging(everything), closedPort(t), greeter(t))
	echoed(t, h)
	for e, side := range map[*envoytest.Envoy]string{h.caller: "source", h.app: "destination"} {
		wrote(t, e, map[string]any{"reporter": side, "protocol": "TCP", "source_principal": callerID, "destination_principal": appID,
			"tls_version": "TLSv1.3", "bytes_received": 5, "bytes_sent": 15})
	}
}

// A connection that a policy denies is an error, and names the policy.
func TestTCPDenialIsLogged(t *testing.T) {
	l := logging(v1alpha1.Telemetry{})
	l.tcpRules = &networkrbacv3.RBAC{StatPrefix: "rules", Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{
		"nobody": {Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}, Principals: []*rbacv3.Principal{anyone}},
	}}}
	h := startHop(t, l, closedPort(t), greeter(t))
	c := dial(t, h.tcp)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(c) // until the proxy ends it
	wrote(t, h.app, map[string]any{"protocol": "TCP", "details": "rbac_access_denied_matched_policy[nobody]", "source_principal": callerID})
}
