package mesh

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// sliceController is the value of the label endpointslice.kubernetes.io/managed-by of the slices that
// Kubernetes makes for Services with a selector.
const sliceController = "endpointslice-controller.k8s.io"

// addresses are a Service port's endpoints, by what may be sent to them, each kind in order. Silent
// are those whose node reports no more, and whose last word was that they are ready; Leaving those that
// terminate and serve no more.
type addresses struct{ Ready, Terminating, Silent, Unready, Leaving []Endpoint }

// all are those of every kind.
func (a addresses) all() []Endpoint {
	return slices.Concat(a.Ready, a.Terminating, a.Silent, a.Unready, a.Leaving)
}

// usable are the ready ones or, where none is, those that still serve while they terminate
// (Kubernetes' own rule for a Service whose pods all go) or, where none does, those that fell
// silent: the control plane may have lost sight of a node that is well, or of all of them.
func (a addresses) usable() []Endpoint {
	for _, kind := range [][]Endpoint{a.Ready, a.Terminating, a.Silent} {
		if len(kind) > 0 {
			return kind
		}
	}
	return nil
}

// missing are those that would be usable besides those that are, were they well: not those that go.
func (a addresses) missing() []Endpoint {
	if len(a.Ready)+len(a.Terminating) == 0 {
		return a.Unready
	}
	return slices.Concat(a.Silent, a.Unready)
}

func sameAddresses(a, b addresses) bool {
	return slices.Equal(a.Ready, b.Ready) && slices.Equal(a.Terminating, b.Terminating) &&
		slices.Equal(a.Silent, b.Silent) && slices.Equal(a.Unready, b.Unready) && slices.Equal(a.Leaving, b.Leaving)
}

// addressesOf are a Service port's endpoints, which its clusters have in common.
func (m *Mesh) addressesOf(q *incr.Query, svc *corev1.Service, port string) addresses {
	return m.endpoints.Get(q, addressesKey(svc, port))
}

// addressesKey is a port of a Service by its name, which may be empty.
func addressesKey(svc *corev1.Service, port string) string {
	return key(svc.Namespace, svc.Name) + ":" + port
}

// collect collects a Service port's endpoints from its EndpointSlices. A dual-stack Service
// has every pod once in each family: those of its first family count, or of the other where that
// has none.
func (m *Mesh) collect(q *incr.Query, k string) (out addresses) {
	service, port, _ := strings.Cut(k, ":")
	svc, ok := m.Services.Get(q, service)
	if !ok {
		return out
	}
	primary := discoveryv1.AddressTypeIPv4
	if len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol {
		primary = discoveryv1.AddressTypeIPv6
	}
	byType := map[discoveryv1.AddressType][]*discoveryv1.EndpointSlice{}
	for _, k := range m.SlicesOf.Get(q, service) {
		if s, ok := m.EndpointSlices.Get(q, k); ok {
			byType[s.AddressType] = append(byType[s.AddressType], s)
		}
	}
	for _, family := range []discoveryv1.AddressType{primary, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		for _, s := range byType[family] {
			m.fromSlice(q, s, port, &out)
		}
		if len(out.usable()) > 0 {
			break
		}
	}
	return addresses{ordered(out.Ready), ordered(out.Terminating), ordered(out.Silent), ordered(out.Unready), ordered(out.Leaving)}
}

func ordered(es []Endpoint) []Endpoint {
	slices.SortFunc(es, byAddress)
	return slices.Compact(es)
}

func byAddress(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
}

// fromSlice reads one slice. A pod that is being deleted counts as terminating from the moment
// its own object says so: the slice says it later, and the kubelet has begun to stop it by then. One that
// is ready by its own object counts as ready where Kubernetes' own controller writes the slice: after an
// outage of the API server that controller may be late by a minute, and what it still calls serving is gone.
func (m *Mesh) fromSlice(q *incr.Query, s *discoveryv1.EndpointSlice, name string, out *addresses) {
	port := portNamed(s, name)
	if port == 0 {
		return
	}
	for _, e := range s.Endpoints {
		c := e.Conditions
		pod, stale := m.podOf(q, s.Namespace, e.TargetRef)
		if stale {
			continue
		}
		kind := &out.Unready
		switch {
		case (c.Ready == nil || *c.Ready || late(s, pod)) && (pod == nil || pod.DeletionTimestamp == nil):
			kind = &out.Ready
		case c.Serving == nil || *c.Serving:
			kind = &out.Terminating
		case pod != nil && pod.DeletionTimestamp == nil && cluster.SaysReady(pod):
			kind = &out.Silent
		case c.Terminating != nil && *c.Terminating || pod != nil && pod.DeletionTimestamp != nil:
			kind = &out.Leaving
		}
		for _, a := range e.Addresses {
			endpoint := Endpoint{Address: a, Port: port, Identity: m.identityAt(q, pod, a, int32(port))}
			if e.Zone != nil {
				endpoint.Zone = *e.Zone
			}
			if e.NodeName != nil {
				endpoint.Node = *e.NodeName
			}
			*kind = append(*kind, endpoint)
		}
	}
}

// late holds where a slice has yet to say that its pod is ready. Slices that others write may mean what they say.
func late(s *discoveryv1.EndpointSlice, pod *corev1.Pod) bool {
	return pod != nil && s.Labels[discoveryv1.LabelManagedBy] == sliceController && cluster.Ready(pod)
}

func portNamed(s *discoveryv1.EndpointSlice, name string) uint32 {
	for _, p := range s.Ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return uint32(*p.Port)
		}
	}
	return 0
}

// podOf is the pod that an endpoint names; nil where it names none. An endpoint is stale when its pod
// is gone, is another now, or has ended: a stranger may have its address.
func (m *Mesh) podOf(q *incr.Query, namespace string, ref *corev1.ObjectReference) (pod *corev1.Pod, stale bool) {
	if ref == nil || ref.Kind != "Pod" {
		return nil, false
	}
	p, ok := m.Pods.Get(q, key(namespace, ref.Name))
	return p, !ok || p.UID != ref.UID || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// identityAt is the identity that an endpoint must prove: its pod's or, where it names none, that of
// the pod which has its address.
func (m *Mesh) identityAt(q *incr.Query, pod *corev1.Pod, address string, port int32) string {
	if pod == nil {
		at := m.PodsAt.Get(q, address)
		if len(at) == 0 {
			return ""
		}
		pod, _ = m.Pods.Get(q, at[0])
	}
	return m.identityOf(q, pod, port)
}

// identityOf is the SPIFFE ID that a port of a pod proves; empty when the port is not in the mesh.
func (m *Mesh) identityOf(q *incr.Query, pod *corev1.Pod, port int32) string {
	if pod == nil || !sidecar.Meshed(pod) || slices.Contains(sidecar.ExcludedInbound(pod), uint16(port)) {
		return ""
	}
	return SPIFFEID(m.trustDomain(q), pod.Namespace, pod.Spec.ServiceAccountName)
}
