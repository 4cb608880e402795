package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Session keeps the requests of one client at the endpoint that answered the first, for as long as that
// can be sent to; by a cookie, or by a header that the client sends as it received it.
type Session struct {
	Name    string // of the cookie or header
	Header  bool
	TTL     time.Duration // of a permanent cookie; 0: one that goes when the client ends
	AnyPath bool          // the cookie names no path, as the session is a policy's about a Service
	// Backends are those over which it reaches, also of weight 0, if they are several. Then the rule sends
	// to a cluster of all of their endpoints, in their stead.
	Backends []Backend
}

// sessionHeader and sessionCookie begin the names that nobody chose.
const (
	sessionHeader = "x-weft-session"
	sessionCookie = "weft-session"
)

// sessionPrefix begins the names of clusters, and of endpoints, over which one rule's sessions reach:
// session/<kind>/<namespace>/<route>/<rule>, of a Service's routes with /mesh after it, and of callers that
// speak HTTP/2 to undeclared ports with /h2 at the end.
const (
	sessionPrefix = "session/"
	ofServices    = "/mesh"
)

// IsSession says whether a cluster, or its endpoints, is one of a session's.
func IsSession(name string) bool { return strings.HasPrefix(name, sessionPrefix) }

func sessionCluster(o Origin, open bool) string {
	name := fmt.Sprintf("%s%s/%s/%s/%d", sessionPrefix, o.Kind, o.Namespace, o.Name, o.Index)
	if open {
		return name + ofServices
	}
	return name
}

// keepSessions has a rule keep sessions, as it says itself or as the policies of its backends do. What
// cannot be served as the rule says is a Verdict; what cannot be as a policy says is left to
// the policy's status.
func (m *Mesh) keepSessions(q *incr.Query, r referrer, spec *ruleSpec, rule *Rule, field string) Verdict {
	backends := slices.Concat(rule.Backends, rule.idle)
	rule.idle = nil
	if r.bytes != nil || len(backends) == 0 || rule.Fail != 0 {
		return Verdict{}
	}
	wanted, ofPolicy := spec.SessionPersistence, false
	if wanted == nil {
		wanted, ofPolicy = m.policySession(q, backends), true
	}
	if wanted == nil {
		return Verdict{}
	}
	if problem := m.unmergeable(q, backends, field); !problem.OK() {
		if ofPolicy {
			rule.Sessionless = problem.Message
			return Verdict{}
		}
		return problem
	}
	rule.Session = newSession(wanted, rule.Origin, ofPolicy)
	if len(backends) > 1 {
		rule.Session.Backends = backends
		weight := uint32(0)
		for _, b := range rule.Backends {
			weight += b.Weight
		}
		rule.Backends = []Backend{{Cluster: sessionCluster(rule.Origin, r.Open), Weight: weight}}
	}
	return Verdict{}
}

// policySession is what the policy of the first of some backends says that has one about sessions.
func (m *Mesh) policySession(q *incr.Query, backends []Backend) *gwv1.SessionPersistence {
	for _, b := range backends {
		if p := m.trafficPolicy(q, parseCluster(b.Cluster).service); p != nil && p.Spec.SessionPersistence != nil {
			return p.Spec.SessionPersistence
		}
	}
	return nil
}

// unmergeable says why sessions cannot reach over the backends of a rule: Envoy finds the endpoint of
// a session in one cluster, and a cluster speaks one protocol and knows nothing of backends.
func (m *Mesh) unmergeable(q *incr.Query, backends []Backend, field string) Verdict {
	const reason = gwv1.RouteReasonUnsupportedValue
	if len(backends) == 1 {
		return Verdict{}
	}
	one := parseCluster(backends[0].Cluster)
	for _, b := range backends {
		at := parseCluster(b.Cluster)
		switch {
		case len(b.Filters) > 0:
			return wrong(reason, "%s.sessionPersistence: sessions cannot reach over several backendRefs of which one has filters: move these to the rule, or give each Service a rule of its own", field)
		case at.backendTLS:
			return wrong(reason, "%s.sessionPersistence: sessions cannot reach over several backendRefs of which one, Service %s, has a BackendTLSPolicy: give each Service a rule of its own", field, at.service)
		case m.spoken(q, at) != m.spoken(q, one):
			return wrong(reason, "%s.sessionPersistence: sessions cannot reach over Services %s and %s, whose ports speak different protocols: give them the same appProtocol, or a rule of its own to each", field, one.service, at.service)
		}
	}
	return Verdict{}
}

// newSession is what somebody wants, of which badSession finds nothing wrong, for one rule. Rules never
// share sessions: the name that a policy gives is therefore only the beginning of it.
func newSession(wanted *gwv1.SessionPersistence, of Origin, ofPolicy bool) *Session {
	out := &Session{Header: byHeader(wanted), AnyPath: ofPolicy}
	id := of.RuleName
	if id == "" {
		id = strconv.Itoa(of.Index)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{of.Kind, of.Namespace, of.Name, id}, "/")))
	own := "-" + hex.EncodeToString(sum[:4])
	switch {
	case wanted.SessionName != nil && *wanted.SessionName != "":
		if out.Name = *wanted.SessionName; ofPolicy {
			out.Name += own
		}
	case out.Header:
		out.Name = sessionHeader + own
	default:
		out.Name = sessionCookie + own
	}
	if c := wanted.CookieConfig; c != nil && c.LifetimeType != nil && *c.LifetimeType == gwv1.PermanentCookieLifetimeType {
		out.TTL = lifetime(wanted)
	}
	return out
}

func byHeader(s *gwv1.SessionPersistence) bool {
	return s.Type != nil && *s.Type == gwv1.HeaderBasedSessionPersistence
}

// lifetime is a session's absoluteTimeout; 0 where there is none, or none that can be read.
func lifetime(s *gwv1.SessionPersistence) time.Duration { return room.Length(s.AbsoluteTimeout) }

// badSession says what of a session no proxy does.
func badSession(s *gwv1.SessionPersistence, field string) Verdict {
	const reason = gwv1.RouteReasonUnsupportedValue
	name := ""
	if s.SessionName != nil {
		name = *s.SessionName
	}
	permanent := s.CookieConfig != nil && s.CookieConfig.LifetimeType != nil && *s.CookieConfig.LifetimeType == gwv1.PermanentCookieLifetimeType
	switch {
	case name != "" && !ValidHeaderName(name):
		return wrong(reason, "%s.sessionName: %q can be the name of no cookie or header: use letters, digits and hyphens", field, bounded(name))
	case byHeader(s) && (strings.Contains(name, "_") || slices.Contains(takenHeaders, strings.ToLower(name))):
		return wrong(reason, "%s.sessionName: header %q is refused in requests, or has a meaning of its own: choose another, without underscores", field, name)
	case byHeader(s) && s.AbsoluteTimeout != nil:
		return wrong(reason, "%s.absoluteTimeout is not supported with type: Header, for a header says nothing of its age: remove it, or use a cookie of lifetimeType: Permanent", field)
	case s.AbsoluteTimeout != nil && !permanent:
		return wrong(reason, "%s.absoluteTimeout is not supported with a cookie of lifetimeType: Session, for the proxies bound a session by its cookie's own lifetime alone: set cookieConfig.lifetimeType: Permanent, or remove absoluteTimeout", field)
	case permanent && lifetime(s) < time.Second:
		return wrong(reason, "%s.absoluteTimeout must be one second at least for a cookie of lifetimeType: Permanent, which it gives its lifetime", field)
	}
	return Verdict{}
}

// takenHeaders are headers that cannot be a session's.
var takenHeaders = []string{"host", "cookie", "set-cookie", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade", "date", "server", "location"}

// endpointsOfSession is the name of the endpoints of a session's cluster: that of the cluster, without what
// says that it leaves retries to its rule because policies do.
func endpointsOfSession(cluster string) string {
	cluster, over := strings.CutSuffix(cluster, overHTTP2)
	cluster = strings.TrimSuffix(cluster, ownRetries)
	if over {
		cluster += overHTTP2
	}
	return cluster
}

// sessionRule is the rule whose sessions reach over a cluster.
func (m *Mesh) sessionRule(q *incr.Query, name string) (rule Rule, overHTTP2Too bool) {
	name, overHTTP2Too = strings.CutSuffix(strings.TrimPrefix(endpointsOfSession(name), sessionPrefix), overHTTP2)
	name, open := strings.CutSuffix(name, ofServices)
	i := strings.LastIndexByte(name, '/')
	rules := m.rules
	if open {
		rules = m.serviceBound
	}
	for _, r := range rules.Get(q, name[:i]).Rules {
		if strconv.Itoa(r.Index) == name[i+1:] && r.Session != nil {
			return r, overHTTP2Too
		}
	}
	return Rule{}, overHTTP2Too
}

// sessionBackends are those over which a cluster's sessions reach, each by its own cluster.
func (m *Mesh) sessionBackends(q *incr.Query, name string) []Backend {
	rule, overHTTP2Too := m.sessionRule(q, name)
	if overHTTP2Too {
		return m.undeclaredOverHTTP2(q, rule.sessionBackends())
	}
	return rule.sessionBackends()
}

func (r Rule) sessionBackends() []Backend {
	if r.Session == nil {
		return nil
	}
	return r.Session.Backends
}

// SessionCluster is a cluster over which a rule's sessions reach, by its name.
func (m *Mesh) SessionCluster(q *incr.Query, name string) Cluster {
	out := Cluster{Name: name, Endpoints: endpointsOfSession(name), Protocol: HTTP1, Sessions: true, Peers: Peers{All: true}}
	backends := m.sessionBackends(q, name)
	for i, b := range backends {
		c := m.Cluster(q, b.Cluster, "")
		if i == 0 {
			out.Protocol, out.OwnRetries = c.Protocol, c.OwnRetries || out.Endpoints != name
			out.Policies = c.Policies
		} else {
			out.Policies = agreed(out.Policies, c.Policies)
		}
		out.Retries = stricter(out.Retries, c.Retries)
		out.Peers.Identities = append(out.Peers.Identities, c.Peers.Identities...)
		// A Service without endpoints says nothing of how those of others are to be spoken to.
		if at := parseCluster(b.Cluster); len(m.addressesAt(q, at.service, at.port).all()) > 0 {
			out.Peers.All = out.Peers.All && c.Peers.All
		}
	}
	slices.Sort(out.Peers.Identities)
	out.Peers.Identities = slices.Compact(out.Peers.Identities)
	out.Peers.All = out.Peers.All && len(out.Peers.Identities) > 0
	return out
}

// agreed is what two Services' policies say alike. Of the others a cluster over both could heed only one, and
// would, say, ask the pods of one Service whether they are well as is done of the other.
func agreed(a, b []room.Decided) (out []room.Decided) {
	for _, d := range a {
		if slices.ContainsFunc(b, func(e room.Decided) bool { return d.Section == e.Section && reflect.DeepEqual(d.Says, e.Says) }) {
			out = append(out, d)
		}
	}
	return out
}

// addressesAt are the endpoints of a Service's port; none where there is no such port.
func (m *Mesh) addressesAt(q *incr.Query, service string, port int32) addresses {
	svc, p, ok := m.portOf(q, service, port)
	if !ok {
		return addresses{}
	}
	return m.addressesOf(q, svc, p.Name)
}

// sessionWants are the clusters over which the sessions of some rules reach, with their endpoints.
func (m *Mesh) sessionWants(q *incr.Query, scope string, rules []Rule, open bool) (out []string) {
	for _, r := range rules {
		if len(r.sessionBackends()) == 0 {
			continue
		}
		names := []string{r.Backends[0].Cluster}
		if other := m.spokenOverHTTP2(q, r)[0].Cluster; open && other != names[0] {
			names = append(names, other)
		}
		for _, name := range names {
			out = append(out, want(scope, KindCluster, name), want(scope, KindEndpoints, endpointsOfSession(name)))
		}
	}
	return out
}
