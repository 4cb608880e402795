// Package loadbalancer gives Services of type LoadBalancer their addresses. It
// does not forward: kube-proxy does, for the addresses in a Service's status.
package loadbalancer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pool allocates addresses. A Service holds an index, which stands for the same
// place in both families' prefixes, so that a Service that becomes dual-stack
// keeps the address it has.
type Pool struct {
	v4, v6 netip.Prefix
	size   int
	held   map[types.UID]int
	// last is the address that was allocated last. The next one comes after it, so that one that was released is not
	// used again soon: connections to who had it are still tracked, and a new one would go where they went.
	last int
}

// NewPool makes a pool of the addresses that both prefixes have in common,
// without the first and the last.
func NewPool(v4, v6 string) (*Pool, error) {
	p4, err := netip.ParsePrefix(v4)
	if err != nil {
		return nil, fmt.Errorf("parse the IPv4 pool: %w", err)
	}
	p6, err := netip.ParsePrefix(v6)
	if err != nil {
		return nil, fmt.Errorf("parse the IPv6 pool: %w", err)
	}
	hostBits := min(32-p4.Bits(), 128-p6.Bits())
	if !p4.Addr().Is4() || !p6.Addr().Is6() || hostBits < 2 || hostBits > 16 {
		return nil, fmt.Errorf("pool %s and %s: want an IPv4 and an IPv6 prefix of 4 to 65536 addresses", v4, v6)
	}
	return &Pool{v4: p4.Masked(), v6: p6.Masked(), size: 1<<hostBits - 1, held: map[types.UID]int{}}, nil
}

// Change is a status that a Service should have.
type Change struct {
	Service *corev1.Service
	Ingress []corev1.LoadBalancerIngress
	// Problem says why the Service gets no address.
	Problem string
}

// Plan allocates for a complete list of Services, releases what Services that
// are gone held, and returns the Services whose status must change. What a
// Service has in its status it keeps, so a restart changes nothing.
func (p *Pool) Plan(services []*corev1.Service) []Change {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	p.release(services)
	p.adopt(services)
	var changes []Change
	for _, service := range services {
		if change, changed := p.plan(service); changed {
			changes = append(changes, change)
		}
	}
	return changes
}

func (p *Pool) release(services []*corev1.Service) {
	wanted := map[types.UID]bool{}
	for _, service := range services {
		wanted[service.UID] = ours(service)
	}
	for uid := range p.held {
		if !wanted[uid] {
			delete(p.held, uid)
		}
	}
}

// adopt takes over the addresses that Services have in their status.
func (p *Pool) adopt(services []*corev1.Service) {
	for _, service := range services {
		if _, known := p.held[service.UID]; known || !ours(service) {
			continue
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if index, ok := p.index(ingress.IP); ok && !p.taken(index) {
				p.held[service.UID], p.last = index, max(p.last, index)
				break
			}
		}
	}
}

func (p *Pool) plan(service *corev1.Service) (Change, bool) {
	var ingress []corev1.LoadBalancerIngress
	var problem string
	if ours(service) {
		index, err := p.allocate(service)
		if err != nil {
			problem = err.Error()
		} else {
			ingress = p.ingress(service, index)
		}
	} else if !p.assignedByUs(service) {
		return Change{}, false
	}
	if slices.EqualFunc(ingress, service.Status.LoadBalancer.Ingress, sameAddress) && problem == "" {
		return Change{}, false
	}
	return Change{Service: service, Ingress: ingress, Problem: problem}, true
}

func (p *Pool) allocate(service *corev1.Service) (int, error) {
	held, holds := p.held[service.UID]
	if wish := service.Spec.LoadBalancerIP; wish != "" {
		index, ok := p.index(wish)
		if ok && holds && held == index {
			return index, nil
		}
		delete(p.held, service.UID) // it does not want that any more
		switch {
		case !ok:
			return 0, fmt.Errorf("spec.loadBalancerIP %s is outside the pools %s and %s", wish, p.v4, p.v6)
		case p.taken(index):
			return 0, fmt.Errorf("spec.loadBalancerIP %s is in use by another Service", wish)
		}
		p.held[service.UID] = index
		return index, nil
	}
	if holds {
		return held, nil
	}
	for i := range p.size - 1 {
		if index := (p.last+i)%(p.size-1) + 1; !p.taken(index) {
			p.held[service.UID], p.last = index, index
			return index, nil
		}
	}
	return 0, fmt.Errorf("all %d addresses of the pool are in use", p.size-1)
}

func (p *Pool) taken(index int) bool {
	for _, other := range p.held {
		if other == index {
			return true
		}
	}
	return false
}

func (p *Pool) ingress(service *corev1.Service, index int) []corev1.LoadBalancerIngress {
	mode := corev1.LoadBalancerIPModeVIP
	var addresses []corev1.LoadBalancerIngress
	for _, family := range service.Spec.IPFamilies {
		prefix := p.v4
		if family == corev1.IPv6Protocol {
			prefix = p.v6
		}
		addresses = append(addresses, corev1.LoadBalancerIngress{IP: at(prefix, index).String(), IPMode: &mode})
	}
	return addresses
}

func (p *Pool) assignedByUs(service *corev1.Service) bool {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if _, ok := p.index(ingress.IP); ok {
			return true
		}
	}
	return false
}

// index is the place of an address in its pool.
func (p *Pool) index(address string) (int, bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return 0, false
	}
	bytes := ip.As16()
	index := (int(bytes[14])<<8 | int(bytes[15])) & p.size
	return index, index > 0 && index < p.size && (ip == at(p.v4, index) || ip == at(p.v6, index))
}

func at(prefix netip.Prefix, index int) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	last := len(bytes) - 1
	bytes[last] |= byte(index)
	bytes[last-1] |= byte(index >> 8)
	ip, _ := netip.AddrFromSlice(bytes)
	return ip
}

// ours reports whether a Service asks for an address of the default class.
func ours(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
}

func sameAddress(a, b corev1.LoadBalancerIngress) bool { return a.IP == b.IP }
