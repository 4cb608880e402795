package mesh

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// Names of what every sidecar has one of.
const (
	OutboundListener    = "outbound"
	InboundListener     = "inbound"
	NodeInboundListener = "inbound-node"
)

// Clusters that lead to where a connection was going: to the app, or out of the mesh.
const (
	AppHTTP1    = "inbound/http1"
	AppHTTP2    = "inbound/http2"
	AppTCP      = "inbound/tcp"
	AppHTTPS    = "inbound/https" // of HTTPS probes: verifies nobody, as the kubelet does
	Passthrough = "outbound/passthrough"
	Blackhole   = "outbound/blackhole" // leads nowhere
)

// Inbound is how the sidecars of a workload receive connections.
type Inbound struct {
	workload
	TrustDomain string
	Ports       []InboundPort // that a Service declares, ordered
	Others      []int32       // ports that no Service declares and the pods name or have probed, ordered
	Mode        MTLSMode      // of all other ports, those too
	Shadow      string        // the policy in Shadow by which they would refuse the plaintext that they accept; "": none
	Identity    string        // the SPIFFE ID of the pods
	Guarded     bool          // only some callers are let in, whom filters of their own know
	Checked     bool          // each request to the other ports is, by Guards: what is no request is not let in
	Ruled       bool          // by sections that know whom to let in of those who send no requests too
	Tried       bool          // by sections of policies in Shadow
	Probes      []sidecar.Probe
	Telemetry   v1alpha1.Telemetry
	Decisions   v1alpha1.DecisionMode // that weft authz is told of; "": none
	// ConnectionAge is how long a connection of HTTP lives at most, so that a root that is trusted no
	// more stops working.
	ConnectionAge time.Duration
	// RootsRetired counts how often roots were retired. Raw TCP of peers has no bound in age: it ends
	// when this goes up.
	RootsRetired uint64
}

// InboundPort is a port of the pods, by the Service that declares it.
type InboundPort struct {
	Port     int32
	Protocol Protocol
	Mode     MTLSMode
	Shadow   string // as for all other ports
	Checked  bool   // the same; false of one that is declared to carry something else
	Ruled    bool   // the same
	Tried    bool   // the same
	Service  string // its key
	Of       int32  // the Service's port
	// ServerTLS is the one exception to Mode; nil: none.
	ServerTLS *ServerTLS
}

// Inbound is what the sidecars of a scope receive; without a Namespace when there are none.
func (m *Mesh) Inbound(q *incr.Query, scope string) Inbound { return m.inbounds.Get(q, scope) }

func (m *Mesh) inbound(q *incr.Query, scope string) Inbound {
	p, ok := m.podIn(q, scope)
	if !ok {
		return Inbound{}
	}
	t := templateOf(p)
	in := Inbound{TrustDomain: m.trustDomain(q), Probes: t.Probes, Telemetry: m.telemetry(q), Decisions: m.decisions(q), ConnectionAge: m.connectionAge(q), RootsRetired: m.Trust(q).Retired}
	in.workload = workload{Namespace: p.Namespace, ServiceAccount: p.Spec.ServiceAccountName, Labels: p.Labels, Ports: t.Ports}
	ports := map[int32]InboundPort{}
	for _, svc := range m.servicesOf(q, p) {
		in.Services = append(in.Services, key(svc.Namespace, svc.Name))
		for _, port := range svc.Spec.Ports {
			at, known := t.resolve(port.TargetPort, port.Port)
			_, taken := ports[at]
			if !known || taken || !overTCP(port) || slices.Contains(t.Excluded, uint16(at)) {
				continue
			}
			ports[at] = InboundPort{Port: at, Protocol: declared(port), Service: key(svc.Namespace, svc.Name), Of: port.Port}
		}
	}
	in.Guarded = m.guarded(q, key(in.Namespace, in.ServiceAccount))
	in.Identity = SPIFFEID(in.TrustDomain, in.Namespace, in.ServiceAccount)
	slices.Sort(in.Services)
	for _, at := range slices.Sorted(maps.Keys(ports)) {
		port, chosen := ports[at], m.selecting(q, in.workload, at)
		port.Mode, port.Shadow = mtlsMode(chosen), shadowMTLS(chosen)
		port.ServerTLS = m.serverTLS(q, in.workload, port, chosen)
		port.Checked, port.Ruled = m.checked(q, chosen, in.workload, at)
		port.Tried = m.tried(q, chosen)
		port.Checked = port.Checked && readable(port.Protocol)
		in.Ports = append(in.Ports, port)
	}
	in.Others = t.others(ports)
	chosen := m.selecting(q, in.workload, otherPorts)
	in.Checked, in.Ruled = m.checked(q, chosen, in.workload, otherPorts)
	in.Tried = m.tried(q, chosen)
	in.Mode, in.Shadow = mtlsMode(chosen), shadowMTLS(chosen)
	return in
}

// others are the ports that are known of the pods themselves, besides those given.
func (t template) others(ports map[int32]InboundPort) []int32 {
	own := slices.Collect(maps.Values(t.Ports))
	for _, p := range t.Probes {
		own = append(own, p.Port)
	}
	own = slices.DeleteFunc(own, func(port int32) bool { _, is := ports[port]; return is })
	slices.Sort(own)
	return slices.Compact(own)
}

// resolve is the port of the pods that a targetPort means.
func (t template) resolve(target intstr.IntOrString, port int32) (int32, bool) {
	if target.Type == intstr.Int {
		return cmp.Or(target.IntVal, port), true
	}
	at, known := t.Ports[target.StrVal]
	return at, known
}
