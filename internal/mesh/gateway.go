package mesh

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
)

// gateway is a Gateway that Weft serves, and what became of its own listeners.
type gateway struct {
	*gwv1.Gateway // nil: not Weft's
	Problem       Verdict
	Listeners     []listener
	Certificate   string  // the name of the one that it shows to backends; empty: none
	Broken        Verdict // what is wrong with the reference to that
}

// gateway resolves the listeners of a Gateway.
func (m *Mesh) gateway(q *incr.Query, k string) gateway {
	gw, ok := m.Gateways.Get(q, k)
	if !ok || !m.served(q, string(gw.Spec.GatewayClassName)) {
		return gateway{}
	}
	g := gateway{Gateway: gw, Problem: m.gatewayProblem(q, gw)}
	g.Certificate, g.Broken = m.clientCertificate(q, gw)
	for i := range gw.Spec.Listeners {
		g.Listeners = append(g.Listeners, m.listener(q, gw, owner{"Gateway", gw.Namespace, gw.Name}, &gw.Spec.Listeners[i]))
	}
	markConflicts(g.Listeners)
	return g
}

// gatewayProblem is what makes a Gateway as a whole unacceptable.
func (m *Mesh) gatewayProblem(q *incr.Query, gw *gwv1.Gateway) Verdict {
	for i, a := range gw.Spec.Addresses {
		if a.Type != nil && *a.Type != gwv1.IPAddressType {
			return wrong(gwv1.GatewayReasonUnsupportedAddress, "spec.addresses[%d].type %q is not supported: use IPAddress, or leave addresses out", i, *a.Type)
		}
	}
	if c, ok := m.GatewayClasses.Get(q, string(gw.Spec.GatewayClassName)); ok {
		if bad := m.classProblem(q, c); !bad.OK() {
			return wrong(gwv1.GatewayReasonInvalidParameters, "spec.gatewayClassName: GatewayClass %s: %s", c.Name, bad.Message)
		}
	}
	if gw.Spec.Infrastructure == nil || gw.Spec.Infrastructure.ParametersRef == nil {
		return Verdict{}
	}
	ref := gw.Spec.Infrastructure.ParametersRef
	return m.parameters(q, "spec.infrastructure.parametersRef", string(ref.Group), string(ref.Kind), gw.Namespace, ref.Name)
}

// keeps says whether what the Gateway's proxies have stays in force, and follows its listeners and routes:
// parameters are about how proxies run. A slip of the pen there keeps new proxies from being made, and
// must not close the ports of those that serve.
func (g gateway) keeps() bool {
	return g.Problem.OK() || g.Problem.Reason == string(gwv1.GatewayReasonInvalidParameters)
}

// parameters checks what a parametersRef names.
func (m *Mesh) parameters(q *incr.Query, field, group, kind, namespace, name string) Verdict {
	const reason = gwv1.GatewayReasonInvalidParameters
	if group != "" || kind != "ConfigMap" {
		return wrong(reason, "%s names a %s of group %q: only a ConfigMap of the core group is read", field, kind, group)
	}
	cm, ok := m.ConfigMaps.Get(q, key(namespace, name))
	if !ok {
		return wrong(reason, "%s: ConfigMap %s/%s does not exist: create it or remove the reference", field, namespace, name)
	}
	if problem := proxies.Check(cm); problem != "" {
		return wrong(reason, "%s: ConfigMap %s/%s: %s", field, namespace, name, problem)
	}
	return Verdict{}
}

// GatewayStatus is the status of a Gateway; nil when Weft does not serve its class.
func (m *Mesh) GatewayStatus(q *incr.Query, k string) *gwv1.GatewayStatus {
	g := m.gateways.Get(q, k)
	if g.Gateway == nil {
		return nil
	}
	sets := len(m.attachedSets.Get(q, k))
	st := &gwv1.GatewayStatus{AttachedListenerSets: new(int32(sets))}
	usable := sets > 0
	for _, l := range g.Listeners {
		usable = usable || l.served()
		st.Listeners = append(st.Listeners, l.status(g.Generation, int32(len(m.takenBy.Get(q, takerKey(k, l.ID)))), m.nack(q, k, l), m.overlapping(q, k, l, g.Generation)))
	}
	addresses, pending := m.addresses(q, g.Gateway)
	st.Addresses = addresses
	accepted := g.accepted(sets > 0)
	st.Conditions = append(st.Conditions,
		accepted,
		holds(gwv1.GatewayConditionProgrammed, g.Generation, first(g.Problem.as(gwv1.GatewayReasonInvalid), unusable(usable), pending, m.available(q, g.Gateway)), gwv1.GatewayReasonProgrammed, "The proxies serve this Gateway."))
	for _, c := range []*metav1.Condition{issuance(g), insecure(g.Gateway), resolvedRefs(g)} {
		if c != nil {
			st.Conditions = append(st.Conditions, *c)
		}
	}
	slices.SortFunc(st.Conditions, byType)
	return st
}

// as keeps the message and changes the reason, where two conditions tell of one thing.
func (v Verdict) as(reason gwv1.GatewayConditionReason) Verdict {
	if !v.OK() {
		v.Reason = string(reason)
	}
	return v
}

func unusable(usable bool) Verdict {
	if usable {
		return Verdict{}
	}
	return wrong(gwv1.GatewayReasonInvalid, "No listener can be served: see the conditions of status.listeners.")
}

// accepted is the Accepted condition: of a Gateway some of whose listeners are not valid it is
// still True, with the reason ListenersNotValid, as Gateway API asks. Served says whether one of a
// ListenerSet is served.
func (g gateway) accepted(served bool) (c metav1.Condition) {
	var bad []Verdict
	for _, l := range g.Listeners {
		served = served || l.served()
		bad = append(bad, l.invalid())
	}
	c = holds(gwv1.GatewayConditionAccepted, g.Generation, g.Problem, gwv1.GatewayReasonAccepted, "Weft serves this Gateway.")
	invalid := join(bad)
	if !g.Problem.OK() || invalid.OK() {
		return c
	}
	c.Reason, c.Message = string(gwv1.GatewayReasonListenersNotValid), invalid.Message
	if !served {
		c.Status = "False"
	}
	return c
}

// addresses are those that the Gateway's Service was given, and what is wrong while some are missing.
func (m *Mesh) addresses(q *incr.Query, gw *gwv1.Gateway) ([]gwv1.GatewayStatusAddress, Verdict) {
	var out []gwv1.GatewayStatusAddress
	svc, ok := m.Services.Get(q, key(gw.Namespace, proxies.Name(gw)))
	if ok {
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if in.IP != "" {
				out = append(out, statusAddress(gwv1.IPAddressType, in.IP))
			} else if in.Hostname != "" {
				out = append(out, statusAddress(gwv1.HostnameAddressType, in.Hostname))
			}
		}
	}
	if missing := notGiven(gw, out); !missing.OK() {
		return out, missing
	}
	if len(out) == 0 {
		return nil, wrong(gwv1.GatewayReasonAddressNotAssigned, "Service %s/%s has no load balancer address yet.", gw.Namespace, proxies.Name(gw))
	}
	return out, Verdict{}
}

// notGiven is the first address that a Gateway asks for and was not given.
func notGiven(gw *gwv1.Gateway, given []gwv1.GatewayStatusAddress) Verdict {
	for i, want := range gw.Spec.Addresses {
		if want.Value == "" || slices.ContainsFunc(given, func(a gwv1.GatewayStatusAddress) bool { return a.Value == want.Value }) {
			continue
		}
		remedy := "ask for one that its load balancer owns and nobody else has"
		if asked := proxies.RequestedIP(gw); want.Value != asked {
			remedy = fmt.Sprintf("a Service can ask for one address only, which is %s: remove this one, or tell the load balancer of it by spec.infrastructure.annotations", asked)
		}
		return wrong(gwv1.GatewayReasonAddressNotUsable, "spec.addresses[%d]: %s was not given to Service %s/%s: %s", i, want.Value, gw.Namespace, proxies.Name(gw), remedy)
	}
	return Verdict{}
}

// available says whether a proxy of the Gateway is ready, which it is once it has its listeners.
func (m *Mesh) available(q *incr.Query, gw *gwv1.Gateway) Verdict {
	k := key(gw.Namespace, proxies.Name(gw))
	switch d, ok := m.Deployments.Get(q, k); {
	case !ok:
		return wrong(gwv1.GatewayReasonPending, "Deployment %s is not there yet: if the API server refuses it, an Event of this Gateway says why.", k)
	case d.Status.AvailableReplicas > 0:
		return Verdict{}
	}
	return wrong(gwv1.GatewayReasonPending, "No proxy of Deployment %s is available yet.", k)
}

// nack is what a proxy said when it refused the port of a listener.
func (m *Mesh) nack(q *incr.Query, gateway string, l listener) Verdict {
	bad, is := m.Refusals.Get(q, l.resource(gateway))
	if !is {
		return Verdict{}
	}
	return wrong(gwv1.ListenerReasonInvalid, "proxy %s refused the listener and keeps the one before: %s", bad.Proxy, bounded(bad.Detail))
}

func statusAddress(t gwv1.AddressType, value string) gwv1.GatewayStatusAddress {
	return gwv1.GatewayStatusAddress{Type: &t, Value: value}
}

// Scope is the scope of a Gateway's proxies; "" when Weft does not serve its class.
func (m *Mesh) Scope(q *incr.Query, k string) string {
	if g := m.gateways.Get(q, k); g.Gateway != nil {
		return ProxyScope(g.Gateway)
	}
	return ""
}

// ScopeOf is the scope that sees a virtual host.
func (m *Mesh) ScopeOf(q *incr.Query, host, variant string) string {
	at, _ := parseAt(variant)
	routes, _ := parseVirtualHost(host)
	gk, _ := parseListener(routes)
	return At(at, m.Scope(q, gk))
}
