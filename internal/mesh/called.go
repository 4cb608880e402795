package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// What follows is asked from outside of the graph, by who explains to people what proxies decide. It reads what
// these are told, and decides nothing by itself.

// Called is where calls come in, and what decides there who may call.
type Called struct {
	Name        string // as messages call it
	Destination room.Destination
	Pods        []string // keys of those that are called, of which it makes no difference which; none at a Gateway
	Outside     string   // why no sidecar decides; "": one does, or a Gateway
	Port        int32    // of the pods, or of the Gateway
	Protocol    Protocol
	MTLS        MTLSMode // of pods
	MTLSBy      string   // the key of the policy that says so; "": none does
	Public      []string // hostnames of which clients' TLS is ended
	Requests    Access   // by TrafficTargets: who may send requests,
	Bytes       Access   // and who what is none
	Guards      []room.Decided
	Listener    string      // of a Gateway
	Host        VirtualHost // of a Gateway, whose rules have Guards of their own
}

// HTTP says whether requests may come there.
func (c Called) HTTP() bool { return c.Protocol.mayCarryHTTP() }

// Surroundings are what a policy depends on beside whom it is about; "": what all do.
func (m *Mesh) Surroundings(policy string) room.Surroundings {
	return m.surroundings(nil, policy)
}

// CalledByService are the pods that a Service's port, by its name or number, leads to.
func (m *Mesh) CalledByService(service, port string) (out []Called, err error) {
	svc, ok := m.Services.Get(nil, service)
	if !ok {
		return nil, fmt.Errorf("there is no Service %s: name another, or look whether the namespace is right", service)
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		return overTCP(p) && (p.Name == port || fmt.Sprint(p.Port) == port)
	})
	switch {
	case port == "" && len(svc.Spec.Ports) == 1:
		i = 0
	case i < 0:
		return nil, fmt.Errorf("there is no port %q of TCP in Service %s: it has %s", port, service, portsOf(svc))
	}
	p := svc.Spec.Ports[i]
	var pods []*corev1.Pod
	m.Pods.Each(func(_ string, pod *corev1.Pod) {
		if pod.Namespace == svc.Namespace && slices.Contains(m.servicesOf(nil, pod), svc) {
			pods = append(pods, pod)
		}
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	seen := map[string]int{}
	for _, pod := range pods {
		at, known := templateOf(pod).resolve(p.TargetPort, p.Port)
		if !known {
			continue
		}
		c := m.calledAt(pod, at)
		if c.Outside != "" {
			c.Protocol = declared(p)
		}
		same := fmt.Sprint(m.PodIdentity(nil, c.Pods[0]).Scope, " ", at, c.Outside)
		if was, is := seen[same]; is {
			out[was].Pods = append(out[was].Pods, c.Pods...)
			continue
		}
		seen[same], out = len(out), append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no pod is behind port %s of Service %s: look at its selector, and at its targetPort", cmp.Or(port, fmt.Sprint(p.Port)), service)
	}
	return out, nil
}

// CalledPod is one port of a pod.
func (m *Mesh) CalledPod(pod string, port int32) (Called, error) {
	p, ok := m.Pods.Get(nil, pod)
	if !ok {
		return Called{}, fmt.Errorf("there is no pod %s: name another, or look whether the namespace is right", pod)
	}
	return m.calledAt(p, port), nil
}

func (m *Mesh) calledAt(p *corev1.Pod, port int32) Called {
	account, k := key(p.Namespace, p.Spec.ServiceAccountName), key(p.Namespace, p.Name)
	out := Called{Name: "pods of ServiceAccount " + account, Pods: []string{k}, Port: port}
	out.Destination = workload{Namespace: p.Namespace, ServiceAccount: p.Spec.ServiceAccountName, Labels: p.Labels}.destination()
	switch {
	case !sidecar.Meshed(p):
		out.Outside = "they are not in the mesh"
		return out
	case slices.Contains(sidecar.ExcludedInbound(p), uint16(port)):
		out.Outside = fmt.Sprintf("an annotation keeps their sidecars out of port %d", port)
		return out
	}
	in, at := m.inbounds.Get(nil, m.PodIdentity(nil, k).Scope), int32(otherPorts)
	if i := slices.IndexFunc(in.Ports, func(p InboundPort) bool { return p.Port == port }); i >= 0 {
		at, out.Protocol = port, in.Ports[i].Protocol
		if tls := in.Ports[i].ServerTLS; tls != nil {
			out.Public = tls.Hostnames
		}
	}
	by := decide(mtls.Section, m.selecting(nil, in.workload, at), enforced)
	out.MTLS, out.MTLSBy = mtls.Mode(by.Says), by.Policy
	out.Guards = m.guardsOfPort(nil, in.workload, at)
	out.Requests, out.Bytes = m.Access(nil, AccessRequests, account), m.Access(nil, AccessUndeclared, account)
	if !out.HTTP() {
		out.Bytes.Name = AccessBytes
	}
	return out
}

// CalledGateway is a Gateway's listener as a host is called at it; port 0 is that of the only one that serves it.
func (m *Mesh) CalledGateway(gateway string, port int32, host string) (Called, error) {
	g := m.gateways.Get(nil, gateway)
	if g.Gateway == nil {
		return Called{}, fmt.Errorf("there is no Gateway %s of a class that Weft serves: name another, or look whether the namespace is right", gateway)
	}
	l, err := m.listenerFor(g, gateway, port, host)
	if err != nil {
		return Called{}, err
	}
	out := Called{Name: "Gateway " + gateway, Destination: m.destinationOf(nil, gateway), Port: l.Port, Protocol: HTTP1, Listener: l.ID}
	for _, domain := range append([]string{cmp.Or(host, "*")}, wildcards(cmp.Or(host, "*"))...) {
		name := VirtualHost{Routes: l.routes(gateway), Domain: domain}.Name()
		own := domain
		if domain == "*" {
			own = "" // as a listener of any host has it
		}
		if len(m.placedOn.Get(nil, name)) > 0 || m.serves(nil, gateway, l.resource(gateway), own) {
			out.Host = m.VirtualHost(nil, name, "")
			break
		}
	}
	return out, nil
}

// listenerFor is the one that gets what is sent to a host.
func (m *Mesh) listenerFor(g gateway, k string, port int32, host string) (listener, error) {
	all := slices.Clone(g.Listeners)
	for _, set := range m.attachedSets.Get(nil, k) {
		all = append(all, m.sets.Get(nil, set).Listeners...)
	}
	var fit []listener
	var has []string
	for _, l := range all {
		if !l.served() || l.Protocol != gwv1.HTTPProtocolType && !l.https() {
			continue
		}
		has = append(has, fmt.Sprintf("%s:%d (%s)", l.ID, l.Port, cmp.Or(l.host(), "any host")))
		if (port == 0 || l.Port == port) && contains(l.host(), cmp.Or(host, l.host())) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return listener{}, fmt.Errorf("no listener of Gateway %s serves host %q at port %d: it has %s", k, host, port, orNone(has))
	}
	slices.SortStableFunc(fit, func(a, b listener) int { return cmp.Compare(specificity(b.host()), specificity(a.host())) })
	if i := slices.IndexFunc(fit, func(l listener) bool { return l.Port != fit[0].Port }); i > 0 {
		return listener{}, fmt.Errorf("host %q is served by Gateway %s at the ports %d and %d: write which one, as in gateway/%s:%d", host, k, fit[0].Port, fit[i].Port, k, fit[0].Port)
	}
	return fit[0], nil
}

// specificity orders hostnames that contain one name.
func specificity(host string) int {
	if strings.HasPrefix(host, "*") || host == "" {
		return len(host)
	}
	return 1 << 16
}
