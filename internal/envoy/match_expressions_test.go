package envoy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/match"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// expressions are each function that people may write, in one that is true and one that is not of a request for
// /<number>/cart?a=b&c=d with these headers, which a sidecar sends for a pod of shop/web in zone eu-1a.
var expressions = []struct {
	text       string
	is         bool
	atGateways bool
}{
	{`request.method == 'GET'`, true, true},
	{`request.method != 'GET'`, false, false},
	{`request.headers['x-user'] == 'ann' && request.headers['X-Age'] == '42'`, true, true},
	{`request.headers['x-user'] == 'bob' || request.headers['x-age'] == '42'`, true, true},
	{`!(request.headers['x-user'] == 'bob')`, true, true},
	{`'x-user' in request.headers && !('x-none' in request.headers)`, true, true},
	{`request.headers['x-none'] == ''`, false, false},    // fails
	{`request.headers['x-none'] != 'one'`, false, false}, // fails
	{`!(request.headers['x-none'] == ''
	 )`, false, false}, // fails
	{`request.headers['x-none'] == '' || request.method == 'GET'`, true, true},
	{`request.url_path.startsWith('/') && request.url_path.endsWith('/cart') && request.url_path.contains('car')`, true, true},
	{`request.url_path.endsWith('b&c=d')`, false, false},
	{`request.path.endsWith('?a=b&c=d') && request.query == 'a=b&c=d'`, true, true},
	{`request.host.matches('^127\\.0\\.0\\.1:[0-9]{2,5}$') && request.scheme == 'http' && request.protocol == 'HTTP/1.1'`, true, true},
	{`request.host.matches('^127[.]1$')`, false, false},
	{`request.url_path.matches('^/[0-9]+/[a-z]{1,20}$')`, true, true},
	{`request.useragent.startsWith('Go-http') && request.referer == 'http://a.test/100%\'"' && request.id.size() == 36`, true, true},
	{`request.headers['x-per'] == "50%) of:5%"`, true, true},
	{`request.headers['x-per'] == "50%"`, false, false},
	{`int(request.headers['x-age']) > 41 && int(request.headers['x-age']) <= 42 && int(request.headers['x-age']) + 1 - 2 * 3 / 1 == 37`, true, true},
	{`-int(request.headers['x-age']) < 0 && int(request.headers['x-age']) >= 43`, false, false},
	{`int(request.headers['x-user']) > 0`, false, false}, // fails
	{`request.headers['x-user'] in ['ann', 'bob']`, true, true},
	{`['ann', 'bob'][1] == request.headers['x-user']`, false, false},
	{`request.headers['x-user'] < 'b' && request.headers['x-user'] >= 'ann' && size(request.headers['x-user']) == 3`, true, true},
	{`request.headers['x-user'] > 'b' || request.headers['x-user'] <= 'am'`, false, false},
	{`(request.method == 'GET' ? 1 : 2) == 1`, true, true},
	{`request.time.getHours() < 24 && request.time.getMinutes() < 60 && request.time.getDayOfWeek() < 7`, true, true},
	{`request.time.getHours() > 23`, false, false},
	{`caller.namespace == 'shop' && caller.serviceAccount == 'web'`, true, false},
	{`caller.namespace.startsWith('sh') && caller.namespace in ['shop']`, true, false},
	{`caller.namespace == '' && caller.serviceAccount == ''`, false, true},
	{`caller.zone == 'eu-1a' && caller.region == ''`, true, true},
	{`caller.zone == 'eu-1b'`, false, false},
	{`request.headers['weft.match'] == 'true'`, true, true},
	{`'é→' != request.method`, true, true},
}

const zoneOfTest room.Locality = "topology.kubernetes.io/zone=eu-1a"

// largest are expressions with patterns of several shapes, each of which is as large as the compiler lets it be.
func largest() (out []string) {
	for n := 64; n > 0; n-- {
		for _, around := range []string{"!(%s)", "(true ? %s : false)", "[%s][0]", "(%s && false) || true", "1 < 2 && (%s)"} {
			text := "true"
			for range n {
				text = fmt.Sprintf(around, text)
			}
			if len(text) <= 1024 && wrongIn(text) == "" {
				out = append(out, text)
			}
		}
	}
	out = append(out, "true"+strings.Repeat("||!true", 140), strings.Repeat("!", 1000)+"true", "true"+strings.Repeat("==true", 140))
	for _, shape := range []string{`a{N}`, `.{N}`, `[^a]{N}`, `\\w{N}`, `(?i:k){N}`, `(ab|cd){N}`, `(a*){N}`, `\\S{N}`, `(?:a?){N}`, `^[a-z]{N}.*$`, `\\pL{N}`, `(?s:.){N}|[0-9]`, `(?i:[^k]){N}`} {
		for n := 100; n > 0; n-- {
			text := "!request.path.matches('" + strings.ReplaceAll(shape, "N", strconv.Itoa(n)) + "') || true"
			if wrongIn(text) == "" {
				out = append(out, text)
				break
			}
		}
	}
	return out
}

// wrongIn says why an expression is refused.
func wrongIn(text string) string {
	return match.Section.Room().Refers(&v1alpha1.MeshPolicySpec{Match: &v1alpha1.Match{CEL: text}})[0].Check(text)
}

// expressed are for each expression a rule that goes to a, and one before it for what the expression is true of,
// that goes to b.
func expressed(t *testing.T, routes string) mesh.VirtualHost {
	t.Helper()
	v := mesh.VirtualHost{Routes: routes, Domain: "*", Port: 80, At: zoneOfTest}
	var texts []string
	for _, e := range expressions {
		texts = append(texts, e.text)
	}
	for i, text := range append(texts, largest()...) {
		path := fmt.Sprintf("[{matches: [{path: {value: /%d}}], backendRefs: [{name: ", i)
		two := append(rules(t, path+"a}]}]"), rules(t, path+"b}]}]")...)
		two[1].Policies = []room.Decided{{Section: "match", Policy: fmt.Sprint("shop/", i), Says: &v1alpha1.Match{CEL: text}}}
		v.Rules = append(v.Rules, two...)
	}
	return v
}

func askFor(t *testing.T, url string) string {
	t.Helper()
	response, text := receive(t, (&gateway{url: url}).request(t, http.MethodGet, "",
		"X-User", "ann", "X-Age", "42", "Referer", `http://a.test/100%'"`, "X-Per", "50%) of:5%", "Weft.match", "true"))
	return fmt.Sprint(response.StatusCode, " ", string(text))
}

// TestExpressions: a real sidecar, and a real Gateway, take each expression that the compiler lets pass, and say of a
// request what it means.
func TestExpressions(t *testing.T) {
	endpoints := map[string][]mesh.Endpoint{"a": serveText(t, "a"), "b": serveText(t, "b")}
	gateway := world{endpoints: endpoints, hosts: []mesh.VirtualHost{expressed(t, "gateway/shop/web/80")}}.start(t)
	at := startCaller(t, endpoints, expressed(t, "outbound/shop/cart/80"))
	for i, e := range expressions {
		if problem := wrongIn(e.text); problem != "" {
			t.Errorf("%s is refused: %s", e.text, problem)
		}
		path := fmt.Sprintf("/%d/cart?a=b&c=d", i)
		for from, want := range map[string]bool{at: e.is, gateway.url: e.atGateways} {
			if got, want := askFor(t, from+path), map[bool]string{true: "200 b", false: "200 a"}[want]; got != want {
				t.Errorf("%s: from %s %s, want %s", e.text, map[bool]string{true: "a pod", false: "a Gateway"}[from == at], got, want)
			}
		}
	}
	if got := askFor(t, at+"/none"); !strings.HasPrefix(got, "404") {
		t.Errorf("what no rule takes: %s", got)
	}
}

// rulesForAnn are rules that are narrowed by an expression and keep sessions or make faults, beside one that is not and
// does neither.
func rulesForAnn(t *testing.T) mesh.VirtualHost {
	t.Helper()
	fault := room.Decided{Section: "fault", Policy: "shop/fault", Says: roomtest.Written[v1alpha1.Fault](t, `{until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}}`)}
	ofAnn := room.Decided{Section: "match", Policy: "shop/ann", Says: &v1alpha1.Match{CEL: "request.headers['x-user'] == 'ann'"}}
	rule := func(path, more string, policies ...room.Decided) mesh.Rule {
		r := rules(t, "[{matches: [{path: {value: "+path+"}}], backendRefs: [{name: a}]"+more+"}]")[0]
		r.Policies = policies
		return r
	}
	session := ", sessionPersistence: {sessionName: s, type: Header}"
	return mesh.VirtualHost{Routes: "outbound/shop/cart/80", Domain: "*", Port: 80, Rules: []mesh.Rule{
		rule("/both", ""), rule("/both", session, ofAnn, fault), rule("/only", session, ofAnn, fault), rule("/kept", session, ofAnn),
	}}
}

// TestFiltersOfExpressions: what a rule does about requests it does for those that it takes by an expression too, and
// for these alone; where no other rule takes them as well.
func TestFiltersOfExpressions(t *testing.T) {
	at := startCaller(t, map[string][]mesh.Endpoint{"a": serveText(t, "a")}, rulesForAnn(t))
	for _, c := range []struct{ path, user, want string }{
		{"/both", "ann", "418"}, {"/both", "bob", "200 a"}, {"/only", "ann", "418"}, {"/only", "bob", "404"}, {"/kept", "ann", "200 a"}, {"/kept", "bob", "404"},
	} {
		response, text := receive(t, (&gateway{url: at}).request(t, http.MethodGet, c.path, "X-User", c.user))
		if got := fmt.Sprint(response.StatusCode, " ", string(text)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s of %s: %s, want %s", c.path, c.user, got, c.want)
		}
		if kept := response.Header.Get("s") != ""; kept != (c.path == "/kept" && c.user == "ann") {
			t.Errorf("%s of %s: a session is kept: %v", c.path, c.user, kept)
		}
	}
	none, _ := receive(t, (&gateway{url: at}).request(t, http.MethodPost, "/shop.Cart/Get", "Content-Type", "application/grpc"))
	if none.Header.Get("Grpc-Status") != "12" {
		t.Errorf("a call that no rule takes: %d, %v", none.StatusCode, none.Header)
	}
}
