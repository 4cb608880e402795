package envoy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/smi"
)

// access rules at random, over few names, so that much of them meets.
type anyAccess struct {
	targets []*access.TrafficTarget
	groups  map[string]*specs.HTTPRouteGroup
	tcp     map[string]*specs.TCPRoute
}

// attempt is a request, or with no method bytes.
type attempt struct {
	from, method, path string
	headers            [][2]string
	port               int32
}

func (a attempt) String() string {
	return fmt.Sprintf("%s %s %s %v at %d", a.from, a.method, a.path, a.headers, a.port)
}

func one[T any](r *rand.Rand, xs ...T) T { return xs[r.Intn(len(xs))] }

func anyRules(r *rand.Rand, ports []int32) anyAccess {
	out := anyAccess{groups: map[string]*specs.HTTPRouteGroup{}, tcp: map[string]*specs.TCPRoute{}}
	for _, name := range []string{"a", "b"} {
		if r.Intn(6) == 0 {
			continue // a rule may name what is not there
		}
		g, t := &specs.HTTPRouteGroup{}, &specs.TCPRoute{}
		for i := range 1 + r.Intn(3) {
			m := specs.HTTPMatch{Name: fmt.Sprint("m", i), PathRegex: one(r, "", ".*", "/open", "/open/.*", "/[a-z]+", "/a|/b", "(/open", `/open/\d+`, "/.*;x")}
			if r.Intn(2) == 0 {
				m.Methods = one(r, []specs.HTTPMethod{"GET"}, []specs.HTTPMethod{"GET", "POST"}, []specs.HTTPMethod{"*"})
			}
			if r.Intn(3) == 0 {
				m.Headers = map[string]specs.HeaderRegex{one(r, "x-role", "X-Role", "host"): one[specs.HeaderRegex](r, "user", "user|guest", ".*", "u[", "")}
			}
			g.Spec.Matches = append(g.Spec.Matches, m)
		}
		t.Spec.Matches.Ports = one(r, nil, ports[:1], ports[1:2], ports)
		out.groups[name] = g
		if r.Intn(6) > 0 {
			out.tcp[name] = t
		}
	}
	for i := range 1 + r.Intn(3) {
		t := &access.TrafficTarget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("t", i)}}
		t.Spec.Destination = access.IdentityBindingSubject{Kind: "ServiceAccount", Name: "cart"}
		for range 1 + r.Intn(2) {
			t.Spec.Sources = append(t.Spec.Sources, access.IdentityBindingSubject{Kind: one(r, "ServiceAccount", "ServiceAccount", "ServiceAccount", "Group"), Name: one(r, "web", "batch", "web'"), Namespace: one(r, "", "shop", "office")})
		}
		for range 1 + r.Intn(2) {
			t.Spec.Rules = append(t.Spec.Rules, access.TrafficTargetRule{Kind: one(r, "HTTPRouteGroup", "HTTPRouteGroup", "TCPRoute", "TCPRoute", "UDPRoute"), Name: one(r, "a", "b"), Matches: one(r, nil, nil, []string{"m0"}, []string{"m1", "none"})})
		}
		out.targets = append(out.targets, t)
	}
	return out
}

func (r anyAccess) allows() (out []smi.Allow) {
	s := smi.Specs{
		HTTPRouteGroup: func(name string) (*specs.HTTPRouteGroup, bool) { g, ok := r.groups[name]; return g, ok },
		TCPRoute:       func(name string) (*specs.TCPRoute, bool) { t, ok := r.tcp[name]; return t, ok },
		Namesake:       func(string, string) bool { return false },
		Regex:          mesh.CheckRegex, Header: mesh.ValidHeaderName,
	}
	for _, t := range r.targets {
		out = append(out, smi.Access(t, s).Allows...)
	}
	return out
}

// lets decides by the objects as they are written: this is all there is to know of TrafficTargets.
func (r anyAccess) lets(a attempt, declared bool) bool {
	return slices.ContainsFunc(r.targets, func(t *access.TrafficTarget) bool {
		from := slices.ContainsFunc(t.Spec.Sources, func(s access.IdentityBindingSubject) bool {
			namespace := s.Namespace
			if namespace == "" {
				namespace = t.Namespace
			}
			return s.Kind == "ServiceAccount" && "spiffe://mesh.test/ns/"+namespace+"/sa/"+s.Name == a.from
		})
		has := func(kind string) bool {
			return slices.ContainsFunc(t.Spec.Rules, func(rule access.TrafficTargetRule) bool { return rule.Kind == kind })
		}
		port := slices.ContainsFunc(t.Spec.Rules, func(rule access.TrafficTargetRule) bool { return rule.Kind == "TCPRoute" && r.portOf(rule, a.port) })
		if !from || has("TCPRoute") && !port {
			return false
		}
		if !has("HTTPRouteGroup") {
			return has("TCPRoute")
		}
		if a.method == "" {
			return has("TCPRoute") && declared
		}
		return slices.ContainsFunc(t.Spec.Rules, func(rule access.TrafficTargetRule) bool { return rule.Kind == "HTTPRouteGroup" && r.describes(rule, a) })
	})
}

func (r anyAccess) portOf(rule access.TrafficTargetRule, port int32) bool {
	route, ok := r.tcp[rule.Name]
	return ok && len(rule.Matches) == 0 && (len(route.Spec.Matches.Ports) == 0 || slices.Contains(route.Spec.Matches.Ports, port))
}

func (r anyAccess) describes(rule access.TrafficTargetRule, a attempt) bool {
	group, ok := r.groups[rule.Name]
	return ok && slices.ContainsFunc(group.Spec.Matches, func(m specs.HTTPMatch) bool {
		return (len(rule.Matches) == 0 || slices.Contains(rule.Matches, m.Name)) && describes(m, a)
	})
}

func describes(m specs.HTTPMatch, a attempt) bool {
	if len(m.Methods) == 0 && m.PathRegex == "" && len(m.Headers) == 0 {
		return false
	}
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, "*") && !slices.Contains(m.Methods, specs.HTTPMethod(a.method)) {
		return false
	}
	p, _, _ := strings.Cut(a.path, "?")
	if m.PathRegex != "" && !whole(m.PathRegex, p) {
		return false
	}
	for name, value := range m.Headers {
		var got []string
		for _, h := range a.headers {
			if strings.EqualFold(h[0], name) {
				got = append(got, h[1])
			}
		}
		if name == "host" || len(got) == 0 || !whole(string(value), strings.Join(got, ",")) || !slices.ContainsFunc(got, func(v string) bool { return whole(string(value), v) }) {
			return false
		}
	}
	return true
}

// whole says whether all of a text matches; an expression that cannot be used, or is none, matches nothing.
func whole(expression, s string) bool {
	if _, err := regexp.Compile(expression); err != nil || expression == "" {
		return false
	}
	return regexp.MustCompile("^(?:" + expression + ")$").MatchString(s)
}

// lenient is how an app may read a path that decodes it again and again, and only then looks where it ends, and
// takes no parameters of segments.
func lenient(raw string) string {
	p, _, _ := strings.Cut(raw, "?")
	for {
		again, err := url.PathUnescape(p)
		if err != nil || again == p {
			break
		}
		p = again
	}
	if end := strings.IndexAny(p, "?#"); end >= 0 {
		p = p[:end]
	}
	parts := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
	for i := range parts {
		parts[i], _, _ = strings.Cut(parts[i], ";")
	}
	p = strings.Join(parts, "/")
	if clean := path.Clean(p); strings.HasSuffix(p, "/") && clean != "/" {
		return clean + "/"
	} else {
		return clean
	}
}

var plainPaths = []string{"/", "/a", "/b", "/ab", "/open", "/open/", "/open/7", "/open/x?y=/a", "/OPEN", "/closed"}

var nastyPaths = []string{"/open/../closed", "//open", "/open/..;/closed", "/%6fpen", "/open/%2e%2e/closed", "/open%2f..%2fclosed", "/open/%252e%252e/closed",
	`/open\..\closed`, "/a;x=1/../closed", "/open/.;x", "/%2561", "/open?/../closed", "/./open", "/open/..%2fclosed", "/closed;x", "/open/..%3b/closed", "/closed%3Fx", "/closed%23"}

func anyAttempt(r *rand.Rand, from string, port int32) (a attempt, plain bool) {
	a = attempt{from: from, method: one(r, "GET", "GET", "POST", "PUT"), port: port}
	if plain = r.Intn(3) > 0; plain {
		a.path = one(r, plainPaths...)
	} else {
		a.path = one(r, nastyPaths...)
	}
	for range r.Intn(3) {
		a.headers = append(a.headers, [2]string{one(r, "x-role", "X-ROLE", "x-other"), one(r, "user", "admin", "guest", "user,admin")})
	}
	return a, plain
}

// line of HTTP/1.1 keeps its connection.
type line struct {
	c net.Conn
	r *bufio.Reader
}

// asks returns the status and what the app saw of the path.
func (l line) asks(t *testing.T, a attempt) (status int, saw string, closed bool) {
	t.Helper()
	_ = l.c.SetDeadline(time.Now().Add(20 * time.Second)) // of a socket that is open it cannot fail
	fmt.Fprintf(l.c, "%s %s HTTP/1.1\r\nHost: cart\r\nContent-Length: 0\r\n", a.method, a.path)
	for _, h := range a.headers {
		fmt.Fprintf(l.c, "%s: %s\r\n", h[0], h[1])
	}
	fmt.Fprint(l.c, "\r\n")
	response, err := http.ReadResponse(l.r, nil)
	if err != nil {
		t.Fatalf("%v: %v", a, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Close
}

// agreesOfBytes opens a connection to each port that takes bytes.
func (g guard) agreesOfBytes(t *testing.T, written anyAccess, from string, counts map[string]int) {
	t.Helper()
	for port, declared := range map[uint32]bool{g.raw: true, g.loose: false} {
		in, want := hears(t, as(t, port, "mesh", from)) != "", written.lets(attempt{from: from, port: int32(port)}, declared)
		counts[fmt.Sprint("bytes ", in)]++
		if in != want {
			t.Errorf("bytes of %s to %d: %t, wanted %t by %+v", from, port, in, want, written)
		}
	}
}

// TestAccessDiffers: for TrafficTargets at random, a real sidecar lets in the requests, on connections that
// outlive the TrafficTargets, and the bytes that an evaluator of its own lets in, and no others; and no path
// gets in that is another to an app which reads it otherwise.
func TestAccessDiffers(t *testing.T) {
	t.Parallel()
	rounds := 100
	if os.Getenv("WEFT_LONG") == "1" {
		rounds = 2000
	}
	g := startGuard(t)
	r := rand.New(rand.NewSource(1))
	callers := []string{account("web"), account("batch"), account("else"), "spiffe://mesh.test/ns/office/sa/web", "spiffe://mesh.test/ns/office/sa/batch"}
	open := map[string]line{}
	plaintext := line{c: dial(t, g.web)}
	plaintext.r = bufio.NewReader(plaintext.c)
	counts := map[string]int{}
	for range rounds {
		written := anyRules(r, []int32{int32(g.web), int32(g.raw), int32(g.loose)})
		g.lets(t, written.allows()...)
		for range 40 {
			from := one(r, callers...)
			if _, is := open[from]; !is {
				c := as(t, g.web, "mesh-h1", from)
				open[from] = line{c, bufio.NewReader(c)}
			}
			a, plain := anyAttempt(r, from, int32(g.web))
			status, saw, closed := open[from].asks(t, a)
			if closed {
				delete(open, from)
			}
			in := status == http.StatusOK
			counts[fmt.Sprint(status)]++
			switch want := written.lets(a, true); {
			case plain && in != want:
				t.Errorf("%v: %d, wanted in %t by %+v", a, status, want, written)
			case in:
				if a.path = saw; !written.lets(a, true) {
					t.Errorf("%v got in, which is not let in as the app saw it", a)
				}
				if a.path = lenient(saw); !written.lets(a, true) && !strings.Contains(fmt.Sprint(written.groups["a"], written.groups["b"]), ";x") {
					t.Errorf("%v got in by a path that is %s to some apps: %+v", saw, a, written)
				}
			}
		}
		for range 3 {
			g.agreesOfBytes(t, written, one(r, callers...), counts)
		}
		if status, _, _ := plaintext.asks(t, attempt{method: "GET", path: "/open"}); status != http.StatusForbidden {
			t.Errorf("plaintext: %d", status)
		}
	}
	t.Logf("%v", counts)
	for _, some := range []string{"200", "403", "bytes true", "bytes false"} {
		if counts[some] == 0 {
			t.Errorf("no answer was %s", some)
		}
	}
}
