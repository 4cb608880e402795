package mesh

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// DirectPrefix begins the names of the clusters by which sidecars reach a pod by its own IP. They are
// made when a sidecar asks for one.
const DirectPrefix = "pod|"

// Outbound is how a sidecar catches what its app sends.
type Outbound struct {
	Egress    EgressMode
	Shadow    string         // the policy in Shadow by which Egress would be Deny; "": none
	Identity  string         // with Shadow: the SPIFFE ID of the pods
	PodRanges []netip.Prefix // ordered
	Telemetry v1alpha1.Telemetry
}

// Direct is one ip:port that a pod calls without a Service.
type Direct struct {
	Name     string // pod|<ip>:<port>
	Address  string
	Port     uint32
	Identity string // that it must prove by mTLS; empty: it is outside the mesh
	Nobody   bool   // no pod has that address
}

// Outbound is the capture of sidecars, of a variant that outboundVariant gave.
func (m *Mesh) Outbound(q *incr.Query, variant string) Outbound {
	ranges, _ := m.podRanges(q)
	out := Outbound{PodRanges: ranges, Telemetry: m.telemetry(q)}
	if parts := strings.Fields(variant); len(parts) == 3 {
		out.Egress, out.Shadow, out.Identity = EgressMode(parts[0]), parts[1], pki.SPIFFEID(m.trustDomain(q), parts[2])
	} else {
		out.Egress = EgressMode(variant)
	}
	return out
}

// outboundVariant is the variant of the outbound listener that a workload's sidecars have: the mode of
// egress, which most share. What a policy in Shadow would close is counted for it and for each
// ServiceAccount by itself: "Allow <policy> <ServiceAccount>", by their keys.
func (m *Mesh) outboundVariant(q *incr.Query, w workload) string {
	chosen := m.selecting(q, w, 0)
	mode := string(egressMode(chosen))
	if policy := shadowEgress(chosen); policy != "" {
		return strings.Join([]string{mode, policy, key(w.Namespace, w.ServiceAccount)}, " ")
	}
	return mode
}

// Direct is a cluster of one pod by its name.
func (m *Mesh) Direct(q *incr.Query, name string) (out Direct) {
	out.Name = name
	at, err := netip.ParseAddrPort(strings.TrimPrefix(name, DirectPrefix))
	if err != nil {
		out.Nobody = true
		return out
	}
	out.Address, out.Port = at.Addr().String(), uint32(at.Port())
	pods := m.PodsAt.Get(q, out.Address)
	if len(pods) > 0 {
		p, _ := m.Pods.Get(q, pods[0])
		out.Identity = m.identityOf(q, p, int32(at.Port()))
		return out
	}
	ranges, exact := m.podRanges(q)
	out.Nobody = exact && !m.ofNode(q, out.Address) && slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(at.Addr()) })
	return out
}

// demandWants is the cluster that some sidecar asked for.
func (m *Mesh) demandWants(_ *incr.Query, address string) []string {
	return []string{want(MeshScope, KindCluster, DirectPrefix+address)}
}

// podRanges are where pods have their IPs: what the nodes say or, where they say nothing, the /24 and
// /64 around each pod that is in the mesh; those may hold other addresses too.
func (m *Mesh) podRanges(q *incr.Query) (ranges []netip.Prefix, exact bool) {
	told := m.nodeRanges.Get(q, "")
	exact = len(told) > 0
	if !exact {
		told = m.seenRanges.Get(q, "")
	}
	for _, text := range told {
		if r, err := netip.ParsePrefix(text); err == nil {
			ranges = append(ranges, r.Masked())
		}
	}
	return ranges, exact
}

// all puts every key into one group.
func all(*incr.Query, string) []string { return []string{""} }

func nodeRanges(_ string, n *corev1.Node) []string { return n.Spec.PodCIDRs }

func nodeAddresses(_ string, n *corev1.Node) (out []string) {
	for _, a := range n.Status.Addresses {
		out = append(out, a.Address)
	}
	return out
}

func seenRanges(_ string, p *corev1.Pod) (out []string) {
	if !sidecar.Meshed(p) || p.Spec.HostNetwork {
		return nil
	}
	for _, ip := range p.Status.PodIPs {
		a, err := netip.ParseAddr(ip.IP)
		if err != nil {
			continue
		}
		bits := 64
		if a.Is4() {
			bits = 24
		}
		r, _ := a.Prefix(bits)
		out = append(out, r.String())
	}
	return out
}

// ofNode says whether an address is a node's own.
func (m *Mesh) ofNode(q *incr.Query, address string) bool {
	return len(m.nodesAt.Get(q, address)) > 0
}
