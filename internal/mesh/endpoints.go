package mesh

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// addressesOf collects a Service port's endpoints from its EndpointSlices. A dual-stack Service
// has every pod once in each family: those of its first family count, or of the other where that
// has none.
func (m *Mesh) addressesOf(q *incr.Query, svc *corev1.Service, port string) (ready, terminating []Endpoint) {
	primary := discoveryv1.AddressTypeIPv4
	if len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol {
		primary = discoveryv1.AddressTypeIPv6
	}
	byType := map[discoveryv1.AddressType][]*discoveryv1.EndpointSlice{}
	for _, k := range m.SlicesOf.Get(q, key(svc.Namespace, svc.Name)) {
		if s, ok := m.EndpointSlices.Get(q, k); ok {
			byType[s.AddressType] = append(byType[s.AddressType], s)
		}
	}
	for _, family := range []discoveryv1.AddressType{primary, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		for _, s := range byType[family] {
			r, t := m.fromSlice(q, s, port)
			ready, terminating = append(ready, r...), append(terminating, t...)
		}
		if len(ready)+len(terminating) > 0 {
			break
		}
	}
	return ordered(ready), ordered(terminating)
}

func ordered(es []Endpoint) []Endpoint {
	slices.SortFunc(es, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(es)
}

// fromSlice reads one slice. A pod that is being deleted counts as terminating from the moment
// its own object says so: the slice says it later, and the kubelet has begun to stop it by then.
func (m *Mesh) fromSlice(q *incr.Query, s *discoveryv1.EndpointSlice, name string) (ready, terminating []Endpoint) {
	port := portNamed(s, name)
	if port == 0 {
		return nil, nil
	}
	for _, e := range s.Endpoints {
		c := e.Conditions
		isReady := (c.Ready == nil || *c.Ready) && !m.going(q, s.Namespace, e.TargetRef)
		isServing := c.Serving == nil || *c.Serving
		for _, a := range e.Addresses {
			endpoint := Endpoint{Address: a, Port: port}
			if e.Zone != nil {
				endpoint.Zone = *e.Zone
			}
			switch {
			case isReady:
				ready = append(ready, endpoint)
			case isServing:
				terminating = append(terminating, endpoint)
			}
		}
	}
	return ready, terminating
}

func portNamed(s *discoveryv1.EndpointSlice, name string) uint32 {
	for _, p := range s.Ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return uint32(*p.Port)
		}
	}
	return 0
}

func (m *Mesh) going(q *incr.Query, namespace string, ref *corev1.ObjectReference) bool {
	if ref == nil || ref.Kind != "Pod" {
		return false
	}
	p, ok := m.Pods.Get(q, key(namespace, ref.Name))
	return ok && p.UID == ref.UID && p.DeletionTimestamp != nil
}
