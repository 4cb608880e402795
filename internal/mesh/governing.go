package mesh

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Sections about traffic are decided for each Cluster, by the Service that it leads to, and for each rule,
// by the way on which requests come to it. The sections themselves do the rest, in internal/envoy.

// entrance is where requests come in: a listener of a Gateway, or a port of a Service as pods call it.
type entrance struct {
	kind     room.Kind // Gateway or Service
	key      string
	listener string             // its ID
	port     corev1.ServicePort // of a Service
}

func (e entrance) group() string { return string(e.kind) + " " + e.key }

// String is how messages call it.
func (e entrance) String() string {
	namespace, name, _ := strings.Cut(e.key, "/")
	return subject{Kind: e.kind, Namespace: namespace, Name: name, Part: e.listener, Port: e.port.Port}.String()
}

// takes says whether a subject of the entrance's group is about it.
func (e entrance) takes(s subject) bool {
	return !s.part() || e.kind == room.Service && s.names(e.port) || e.kind == room.Gateway && s.Part == e.listener
}

// upstreamPolicies are what sections say of the Cluster of a Service's port.
func (m *Mesh) upstreamPolicies(q *incr.Query, at clusterAt, port corev1.ServicePort) []room.Decided {
	e := entrance{kind: room.Service, key: at.service, port: port}
	speaks := string(m.spoken(q, at))
	return m.decideTraffic(q, m.about(q, outsideIn(e), e.takes), e, func(r room.Room, d room.Decided) bool { return r.Fits(d, speaks) })
}

// requestPolicies are what sections say of the requests that come in by an entrance and that a rule takes.
func (m *Mesh) requestPolicies(q *incr.Query, found []selected, e entrance) []room.Decided {
	return m.decideTraffic(q, found, e, func(r room.Room, _ room.Decided) bool { return r.OfRequests() })
}

// aboutRule are the policies that are about the requests that come in by an entrance and that a rule takes.
func (m *Mesh) aboutRule(q *incr.Query, e entrance, of Origin) []selected {
	groups := outsideIn(e)
	route := group(room.Kind(of.Kind), of.Namespace, of.Name)
	if of.Kind == HTTPRoute || of.Kind == GRPCRoute {
		groups = append(groups, route)
	}
	return m.about(q, groups, func(s subject) bool {
		if s.group() == route && s.Kind != room.Service {
			return !s.part() || s.Part == of.RuleName
		}
		return e.takes(s)
	})
}

// outsideIn are the groups of the subjects that may be about an entrance.
func outsideIn(e entrance) []string {
	return []string{meshGroup, group(room.Namespace, namespaceIn(e.key), ""), e.group()}
}

// namespaceIn is the namespace of a key.
func namespaceIn(k string) string {
	namespace, _, _ := strings.Cut(k, "/")
	return namespace
}

// decideTraffic is what holds at an entrance, section by section in the order of all, of policies in their
// precedence. What has a problem is told of in its policy's status, and does not hold; nor does what does not suit.
func (m *Mesh) decideTraffic(q *incr.Query, found []selected, at entrance, suits func(room.Room, room.Decided) bool) (out []room.Decided) {
	for _, r := range policy.All {
		if len(found) == 0 && r.Default == nil || !r.Traffic() || r.Gateways && at.kind != room.Gateway {
			continue
		}
		var entries []room.Entry
		for _, p := range found {
			if !m.heldIn(q, p, r) || at.kind == room.Gateway && r.Callers(&p.Spec) {
				continue
			}
			e := room.Entry{Policy: p.key(), Level: p.Level, Spec: &p.Spec}
			switch {
			case !suits(r, r.Decide([]room.Entry{e})):
			case m.ended(q, r, p.MeshPolicy):
				out = append(out, room.Decided{Section: r.Name, Policy: p.key(), Ended: true})
			default:
				entries = append(entries, e)
			}
		}
		if len(entries) > 0 {
			d := r.Decide(entries)
			d.Referents = m.referentsOf(q, r, d.Policy, at.kind)
			if r.IsApart(d) {
				d.Apart = apartName(r.Name, at.kind, d.Policy)
			}
			out = append(out, d)
		} else if d, says := m.ownWord(q, r, at); says && suits(r, d) {
			out = append(out, d)
		}
	}
	return out
}

// ownWord is what the Service of an entrance says itself of what no policy about it does.
func (m *Mesh) ownWord(q *incr.Query, r room.Room, at entrance) (d room.Decided, says bool) {
	if r.Default == nil || at.kind != room.Service {
		return d, false
	}
	svc, ok := m.Services.Get(q, at.key)
	if !ok {
		return d, false
	}
	return r.Default(svc)
}

// heldIn says whether what a policy says in a section is to hold where it is about something.
func (m *Mesh) heldIn(q *incr.Query, p selected, r room.Room) bool {
	return slices.Contains(enforced, p.Spec.Mode) && r.Has(&p.Spec) && r.About(p.on.Kind) && m.sectionProblem(q, r, p.MeshPolicy, p.on).OK()
}

// governed are rules as the policies about what comes in by an entrance have them.
func (m *Mesh) governed(q *incr.Query, rules []Rule, e entrance) []Rule {
	out := slices.Clone(rules)
	for i := range out {
		r := &out[i]
		if ofBytes(r.Kind + "/") { // rules of connections take no requests
			continue
		}
		about := m.aboutRule(q, e, r.Origin)
		r.Policies = m.requestPolicies(q, about, e)
		if e.kind == room.Gateway {
			called := m.destinationOf(q, e.key)
			r.Guards = m.guarding(q, about, e.kind, called)
			r.Law = m.lawOf(q, r.Guards, called)
		}
		if r.Fail != 0 { // all that can be said of such a rule is whom it fails
			r.Policies = slices.DeleteFunc(r.Policies, func(d room.Decided) bool { return !policy.Narrows(d) })
		}
		m.claiming(q, r, about, e.kind)
		if slices.ContainsFunc(r.Policies, ownsRetries) {
			r.Backends = slices.Clone(r.Backends)
			for j, b := range r.Backends {
				r.Backends[j].Cluster = OwnRetries(b.Cluster)
			}
		}
	}
	return out
}

func ownsRetries(d room.Decided) bool {
	r, ok := policy.ByName(d.Section)
	return ok && !d.Ended && r.OwnRetries(d)
}

// governedAt are the rules of a route as the policies of the entrances have them by which one parentRef has
// requests come to it.
func (m *Mesh) governedAt(q *incr.Query, rules []Rule, a attached) (out []Rule) {
	for _, e := range m.entrances(q, a) {
		out = append(out, m.governed(q, rules, e)...)
	}
	return out
}

// entrances are those by which one parentRef of a route has requests come to it.
func (m *Mesh) entrances(q *incr.Query, a attached) (out []entrance) {
	var listeners []string
	for _, p := range a.Places {
		if !slices.Contains(listeners, p.Listener) {
			listeners = append(listeners, p.Listener)
			out = append(out, entrance{kind: room.Gateway, key: a.Gateway, listener: p.Listener})
		}
	}
	for _, number := range a.Ports {
		if _, port, ok := m.portOf(q, a.Service, number); ok {
			out = append(out, entrance{kind: room.Service, key: a.Service, port: port})
		}
	}
	return out
}

// entranceOf is the listener by which requests to a virtual host come to a route.
func (m *Mesh) entranceOf(q *incr.Query, gateway, k, virtualHost string) entrance {
	out := entrance{kind: room.Gateway, key: gateway}
	for _, a := range m.attached.Get(q, k) {
		for _, p := range a.Places {
			if a.Gateway != gateway || (VirtualHost{Routes: p.Routes, Domain: p.Domain}).Name() != virtualHost {
				continue
			}
			if l, ok := m.listenerOf(q, gateway, p.Listener); ok && l.served() && !m.hidden(q, gateway, l, p.Domain) {
				out.listener = p.Listener
				return out
			}
		}
	}
	return out
}

// trafficProblem says what keeps a policy's sections about traffic from meaning anything to a subject.
func (m *Mesh) trafficProblem(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) Verdict {
	for _, r := range policy.All {
		if !r.Has(&p.Spec) {
			continue
		}
		if problem := m.sectionProblem(q, r, p, s); !problem.OK() {
			return problem
		}
	}
	return Verdict{}
}

// sectionProblem says what keeps a section that a policy has from meaning anything to a subject: there no part
// of it holds.
func (m *Mesh) sectionProblem(q *incr.Query, r room.Room, p *v1alpha1.MeshPolicy, s subject) Verdict {
	if problem := r.Problem(&p.Spec, s.Kind, s.part()); problem != "" {
		return wrong(gwv1.PolicyReasonInvalid, "spec.%s%s", r.Name, problem)
	}
	switch {
	case r.Guarded():
		return m.guardProblem(q, r, s)
	case !r.Traffic():
		return Verdict{}
	}
	if r.Gateways && !m.mayComeByGateway(q, s) {
		return wrong(reasonUnsupportedProtocol, "%s: spec.%s is about what comes by Gateways, and %s is attached to none: name a Gateway, or attach the route to one", s.Field, r.Name, s)
	}
	d := r.Decide([]room.Entry{{Spec: &p.Spec}})
	if field := r.OnlyRequests(d); field != "" && !m.carriesRequests(q, s) {
		return wrong(reasonUnsupportedProtocol, "%s: spec.%s%s is about requests of HTTP or gRPC, and %s carries none: name another target, or declare the port's protocol by its appProtocol or name", s.Field, r.Name, field, s)
	}
	if !(r.OfRequests() && m.carriesRequests(q, s)) && !m.fits(q, r, d, s) {
		return wrong(reasonUnsupportedProtocol, "%s: spec.%s %s", s.Field, r.Name, m.misfit(q, r, d, s))
	}
	return Verdict{}
}

// mayComeByGateway says whether requests to a subject may come by a Gateway: not those to a route that is
// attached to Services alone.
func (m *Mesh) mayComeByGateway(q *incr.Query, s subject) bool {
	if !ofRoutes(s) {
		return true
	}
	all := m.attached.Get(q, routeKey(string(s.Kind), key(s.Namespace, s.Name)))
	return len(all) == 0 || slices.ContainsFunc(all, func(a attached) bool { return a.Gateway != "" })
}

// misfit says why what a section says has no meaning for any port of a subject.
func (m *Mesh) misfit(q *incr.Query, r room.Room, d room.Decided, s subject) string {
	requests := r.OfRequests() || r.Fits(d, string(HTTP1)) || r.Fits(d, string(HTTP2))
	switch {
	case requests && r.Fits(d, string(TCP)):
		return fmt.Sprintf("is about what goes over TCP, and nothing of %s does: name another target", s)
	case requests && !m.carriesRequests(q, s):
		return fmt.Sprintf("is about requests of HTTP or gRPC, and %s carries none: name another target, or declare the port's protocol by its appProtocol or name", s)
	}
	return fmt.Sprintf("is written for another protocol than that of %s: write it for that one, or correct what the port declares by its appProtocol or name", s)
}

// fits says whether what a section says has a meaning for some port of a subject; what is not there is told of
// elsewhere.
func (m *Mesh) fits(q *incr.Query, r room.Room, d room.Decided, s subject) bool {
	if s.Kind != room.Service {
		return r.Upstream != nil && (s.Kind == room.Mesh || s.Kind == room.Namespace)
	}
	k := key(s.Namespace, s.Name)
	svc, ok := m.Services.Get(q, k)
	return !ok || slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		return (!s.part() || s.names(p)) && slices.ContainsFunc(m.mayBeSpoken(q, k, p), func(protocol Protocol) bool { return r.Fits(d, string(protocol)) })
	})
}

// mayBeSpoken are the protocols that clusters speak to a Service's port.
func (m *Mesh) mayBeSpoken(q *incr.Query, service string, p corev1.ServicePort) []Protocol {
	switch protocol := declared(p); {
	case !overTCP(p):
		return nil
	case protocol == Undeclared:
		return []Protocol{HTTP1, HTTP2, TCP}
	case protocol.HTTP():
		return []Protocol{protocol}
	case m.backendPolicy(q, service, p) != nil:
		return []Protocol{protocol, HTTP1}
	default:
		return []Protocol{protocol}
	}
}

// carriesRequests says whether any request comes by a subject; what is not there is told of elsewhere.
func (m *Mesh) carriesRequests(q *incr.Query, s subject) bool {
	switch s.Kind {
	case room.Service:
		svc, ok := m.Services.Get(q, key(s.Namespace, s.Name))
		return !ok || slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
			return (!s.part() || s.names(p)) && (routable(p) || m.backendPolicy(q, key(s.Namespace, s.Name), p) != nil)
		})
	case room.Gateway:
		k := key(s.Namespace, s.Name)
		g := m.gateways.Get(q, k)
		return g.Gateway == nil || !s.part() && len(m.portsOf.Get(q, k)) > 0 || slices.ContainsFunc(g.Listeners, func(l listener) bool {
			return (!s.part() || l.ID == s.Part) && !l.udp() && !l.tcp() && !l.bytes()
		})
	}
	return true
}
