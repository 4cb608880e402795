package mesh

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
)

// listener is one of a Gateway's listeners, its own or a ListenerSet's, and what is wrong with it.
type listener struct {
	gwv1.Listener
	ID       string                // among all of the Gateway: its name, or namespace/set/name
	Owner    owner                 // the object that it is written in
	Kinds    []gwv1.RouteGroupKind // of the routes that may attach
	Refused  Verdict               // Accepted=False
	Conflict Verdict               // Conflicted=True
	Lost     bool                  // the Conflict is with an earlier object's
	Broken   Verdict               // ResolvedRefs=False
	Secrets  []string              // names of the certificates
	Clients  *ClientTLS            // what clients prove; nil: nothing
	Remarks  string                // on what is served hardly as it is meant
	Ends     string                // when its certificates do
}

// owner is what a listener is written in.
type owner struct{ Kind, Namespace, Name string }

// served says whether traffic reaches the listener.
func (l listener) served() bool {
	return l.Refused.OK() && l.Conflict.OK() && (!l.ends() || len(l.Secrets) > 0)
}

// invalid is what keeps a listener from counting as valid.
func (l listener) invalid() Verdict { return first(l.Conflict, l.Refused, l.Broken) }

func (l listener) host() string {
	if l.Hostname == nil {
		return ""
	}
	return string(*l.Hostname)
}

// https says whether the listener serves HTTP inside TLS.
func (l listener) https() bool { return l.Protocol == gwv1.HTTPSProtocolType }

// bytes says whether the listener passes on what TLSRoutes take.
func (l listener) bytes() bool { return l.Protocol == gwv1.TLSProtocolType }

// tcp and udp say that the listener passes on all that it gets.
func (l listener) tcp() bool { return l.Protocol == gwv1.TCPProtocolType }
func (l listener) udp() bool { return l.Protocol == gwv1.UDPProtocolType }

// resource is the name of the Listener that the listener is part of.
func (l listener) resource(gateway string) string {
	if l.udp() {
		return listenerName(gateway, int32(l.Port)) + overUDPEnd
	}
	return listenerName(gateway, int32(l.Port))
}

// ends says whether the listener ends TLS.
func (l listener) ends() bool {
	passes := l.TLS != nil && l.TLS.Mode != nil && *l.TLS.Mode == gwv1.TLSModePassthrough
	return l.https() || l.bytes() && !passes
}

// routes is the name of the RouteConfiguration that serves the listener. Plaintext listeners of
// one port share one: there the Host header alone tells them apart.
func (l listener) routes(gateway string) string {
	if l.https() {
		return listenerName(gateway, int32(l.Port)) + "/" + l.ID
	}
	return listenerName(gateway, int32(l.Port))
}

// listener resolves one listener by itself; conflicts with its siblings come later.
func (m *Mesh) listener(q *incr.Query, gw *gwv1.Gateway, in owner, spec *gwv1.Listener) listener {
	l := listener{Listener: *spec, ID: string(spec.Name), Owner: in, Kinds: []gwv1.RouteGroupKind{}}
	if in.Kind == ListenerSet {
		l.ID = key(key(in.Namespace, in.Name), l.ID)
	}
	switch {
	case len(l.carries()) == 0:
		l.Refused = wrong(gwv1.ListenerReasonUnsupportedProtocol, "listener %s: protocol %q is not supported: use HTTP, HTTPS, TLS, TCP or UDP", spec.Name, spec.Protocol)
		return l
	case slices.Contains(proxies.ReservedPorts, spec.Port):
		l.Refused = wrong(gwv1.ListenerReasonPortUnavailable, "listener %s: port %d is the proxy's own: choose another than 15000, 15021 and 15090", spec.Name, spec.Port)
		return l
	}
	l.Kinds, l.Broken = routeKinds(spec)
	if l.ends() {
		secrets, problem := m.certificates(q, in, spec)
		l.Secrets, l.Broken = secrets, first(problem, l.Broken)
	}
	l.Remarks, l.Ends = m.listenerRemarks(q, l)
	if l.https() {
		clients, refs, none := m.clients(q, gw, spec)
		l.Clients, l.Refused, l.Broken = clients, none, join([]Verdict{l.Broken, refs})
	}
	return l
}

// carries are the kinds of routes that the listener's protocol is for; none if it is not served.
func (l listener) carries() []string {
	switch {
	case l.Protocol == gwv1.HTTPProtocolType || l.https():
		return []string{HTTPRoute, GRPCRoute}
	case l.bytes() && l.ends():
		return []string{TLSRoute, TCPRoute}
	case l.bytes():
		return []string{TLSRoute}
	case l.tcp():
		return []string{TCPRoute}
	case l.udp():
		return []string{UDPRoute}
	}
	return nil
}

// routeKinds are the kinds of routes that may attach to a listener.
func routeKinds(l *gwv1.Listener) ([]gwv1.RouteGroupKind, Verdict) {
	group, carried := gwv1.Group(gwv1.GroupName), listener{Listener: *l}.carries()
	var supported []gwv1.RouteGroupKind
	for _, kind := range carried {
		supported = append(supported, gwv1.RouteGroupKind{Group: &group, Kind: gwv1.Kind(kind)})
	}
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		return supported, Verdict{}
	}
	kinds, problem := []gwv1.RouteGroupKind{}, Verdict{}
	for i, k := range l.AllowedRoutes.Kinds {
		at := slices.IndexFunc(supported, func(s gwv1.RouteGroupKind) bool { return s.Kind == k.Kind })
		switch {
		case at < 0 || k.Group != nil && *k.Group != group:
			problem = wrong(gwv1.ListenerReasonInvalidRouteKinds, "listener %s: allowedRoutes.kinds[%d]: %s routes cannot attach to a listener of protocol %s: only %s can", l.Name, i, k.Kind, l.Protocol, strings.Join(carried, " and "))
		case !slices.Contains(kinds, supported[at]):
			kinds = append(kinds, supported[at])
		}
	}
	return kinds, problem
}

// certificates resolves the certificateRefs of a listener that ends TLS.
func (m *Mesh) certificates(q *incr.Query, in owner, l *gwv1.Listener) ([]string, Verdict) {
	if l.TLS == nil {
		return nil, wrong(gwv1.ListenerReasonInvalidCertificateRef, "listener %s: tls is missing, which protocol %s needs: name a Secret of type kubernetes.io/tls in tls.certificateRefs", l.Name, l.Protocol)
	}
	if l.TLS.Mode != nil && *l.TLS.Mode != gwv1.TLSModeTerminate {
		return nil, wrong(gwv1.ListenerReasonInvalidCertificateRef, "listener %s: tls.mode must be Terminate for protocol %s", l.Name, l.Protocol)
	}
	var names []string
	var problems []Verdict
	for i, ref := range l.TLS.CertificateRefs {
		name, problem := m.certificate(q, in, ref, fmt.Sprintf("listener %s: tls.certificateRefs[%d]", l.Name, i), string(gwv1.ListenerReasonInvalidCertificateRef))
		if name != "" {
			names = append(names, name)
		}
		problems = append(problems, problem)
	}
	if len(l.TLS.CertificateRefs) == 0 {
		problems = append(problems, wrong(gwv1.ListenerReasonInvalidCertificateRef, "listener %s: tls.certificateRefs is empty: name a Secret of type kubernetes.io/tls", l.Name))
	}
	return names, join(problems)
}

// certificate is the name of the Secret that one of an object's references names; "" if there is none to
// show. Invalid is the reason then, where the reference is permitted.
func (m *Mesh) certificate(q *incr.Query, in owner, ref gwv1.SecretObjectReference, field, invalid string) (string, Verdict) {
	if (ref.Group != nil && *ref.Group != "") || (ref.Kind != nil && *ref.Kind != "Secret") {
		return "", wrong(invalid, "%s: only a Secret of the core group can be named", field)
	}
	namespace := in.Namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	if namespace != in.Namespace && !m.granted(q, in.Kind, in.Namespace, "Secret", namespace, string(ref.Name)) {
		return "", m.notGranted(q, reference{in.Kind, in.Namespace, "Secret", namespace, string(ref.Name)}, field)
	}
	k := key(namespace, string(ref.Name))
	pair := m.secrets.Get(q, k)
	if pair.problem.OK() {
		return secretName(k), Verdict{}
	}
	problem := wrong(invalid, "%s: %s", field, pair.problem.Message)
	if pair.problem.Reason == reasonNotFound {
		problem.Message += ": create it, or name another"
	}
	if m.servedBefore(q, k) {
		problem.Message += "; the last certificate that was usable stays in force"
		return secretName(k), problem
	}
	return "", problem
}

// overTLS says whether a client of a protocol names its host by SNI, before anything else.
func overTLS(p gwv1.ProtocolType) bool {
	return p == gwv1.HTTPSProtocolType || p == gwv1.TLSProtocolType
}

// shares says whether listeners of two protocols can have one port.
func shares(a, b gwv1.ProtocolType) bool { return a == b || overTLS(a) && overTLS(b) }

// markConflicts finds the listeners that cannot be told apart. None of them wins, as Gateway API
// asks; the others are served. HTTPS and TLS share a port: the hostname tells them apart. A port of UDP
// is another than that of TCP with its number.
func markConflicts(ls []listener) {
	for i := range ls {
		for j := range ls {
			if i == j || ls[i].Port != ls[j].Port || ls[i].udp() != ls[j].udp() || !ls[i].Refused.OK() || !ls[j].Refused.OK() {
				continue
			}
			switch {
			case !shares(ls[i].Protocol, ls[j].Protocol):
				ls[i].Conflict = wrong(gwv1.ListenerReasonProtocolConflict, "listener %s: port %d is also listener %s's, with protocol %s: use another port", ls[i].Name, ls[i].Port, ls[j].Name, ls[j].Protocol)
			case ls[i].host() == ls[j].host():
				ls[i].Conflict = first(ls[i].Conflict, wrong(gwv1.ListenerReasonHostnameConflict, "listener %s: port %d and hostname %q are also listener %s's: change one of them", ls[i].Name, ls[i].Port, ls[i].host(), ls[j].Name))
			}
		}
	}
}

// status is a listener's status with n routes attached, with what a proxy said against it, and whether it
// overlaps.
func (l listener) status(generation int64, n int32, nack Verdict, overlaps *metav1.Condition) gwv1.ListenerStatus {
	programmed := first(l.Conflict, l.Refused, nack)
	if programmed.OK() && !l.served() {
		programmed = l.Broken
	}
	if !programmed.OK() && (l.Owner.Kind != ListenerSet || l.Conflict.OK()) {
		programmed.Reason = string(gwv1.ListenerReasonInvalid)
	}
	st := gwv1.ListenerStatus{Name: l.Name, SupportedKinds: l.Kinds, AttachedRoutes: n}
	conflicted := holds(gwv1.ListenerConditionConflicted, generation, l.Conflict, gwv1.ListenerReasonNoConflicts, "")
	conflicted.Status = map[bool]metav1.ConditionStatus{true: metav1.ConditionFalse, false: metav1.ConditionTrue}[l.Conflict.OK()]
	st.Conditions = append(st.Conditions,
		holds(gwv1.ListenerConditionAccepted, generation, first(l.Conflict, l.Refused), gwv1.ListenerReasonAccepted, l.Remarks),
		conflicted,
		holds(gwv1.ListenerConditionProgrammed, generation, programmed, gwv1.ListenerReasonProgrammed, ""),
		holds(gwv1.ListenerConditionResolvedRefs, generation, l.Broken, gwv1.ListenerReasonResolvedRefs, l.Ends))
	if overlaps != nil {
		st.Conditions = append(st.Conditions, *overlaps)
	}
	slices.SortFunc(st.Conditions, byType)
	return st
}
