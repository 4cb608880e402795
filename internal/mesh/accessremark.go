package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/smi"
)

// accountPorts is what is known of the ports of the pods that run as a ServiceAccount: by Services, containers
// and probes. Pods may listen to more.
type accountPorts struct {
	known    map[int32]Protocol // those of TCP, by what is declared
	excluded map[int32]bool     // which the sidecars are kept out of
	services []*corev1.Service
	named    map[string]int32 // container ports by name
}

// accountPorts are those of a ServiceAccount's pods in the mesh; false if there is none.
func (m *Mesh) accountPorts(q *incr.Query, account string) (accountPorts, bool) {
	out := accountPorts{known: map[int32]Protocol{}, excluded: map[int32]bool{}, named: map[string]int32{}}
	scopes := m.scopesOf.Get(q, account)
	for _, scope := range scopes {
		in := m.inbounds.Get(q, scope)
		for _, p := range in.Ports {
			if was, is := out.known[p.Port]; !is || !was.mayCarryHTTP() {
				out.known[p.Port] = p.Protocol
			}
		}
		for _, k := range in.Services {
			if svc, ok := m.Services.Get(q, k); ok && !slices.Contains(out.services, svc) {
				out.services = append(out.services, svc)
			}
		}
		maps.Copy(out.named, in.workload.Ports)
		own := m.ownPorts.Get(q, scope)
		for _, p := range own.Ports {
			if _, is := out.known[p]; !is {
				out.known[p] = Undeclared
			}
		}
		for _, p := range own.Excluded {
			out.excluded[int32(p)] = true
		}
	}
	return out, len(scopes) > 0
}

// containerPorts are what the pods of a scope say of their ports.
type containerPorts struct {
	Ports    []int32 // of TCP, and those of probes
	Excluded []uint16
}

func (m *Mesh) containerPorts(q *incr.Query, scope string) (out containerPorts) {
	p, ok := m.podIn(q, scope)
	if !ok {
		return out
	}
	out.Excluded = sidecar.ExcludedInbound(p)
	for _, probe := range sidecar.Probes(p) {
		out.Ports = append(out.Ports, probe.Port)
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, port := range c.Ports {
			if c.Name != sidecar.ProxyContainer && (port.Protocol == "" || port.Protocol == corev1.ProtocolTCP) {
				out.Ports = append(out.Ports, port.ContainerPort)
			}
		}
	}
	return out
}

// accessRemarks are those on a TrafficTarget with TCPRoutes.
func (m *Mesh) accessRemarks(q *incr.Query, k string, t *access.TrafficTarget) (out []string) {
	if !slices.ContainsFunc(t.Spec.Rules, func(r access.TrafficTargetRule) bool { return r.Kind == TCPRoute }) {
		return nil
	}
	target := m.targets.Get(q, k)
	ports, ok := m.accountPorts(q, target.Destination)
	if !ok {
		return nil
	}
	for i, r := range t.Spec.Rules {
		if r.Kind != TCPRoute {
			continue
		}
		if route, ok := m.SMITCPRoutes.Get(q, key(t.Namespace, r.Name)); ok {
			for _, port := range route.Spec.Matches.Ports {
				if said := ports.doubt(port); said != "" {
					out = append(out, fmt.Sprintf("spec.rules[%d]: TCPRoute %s: %s", i, r.Name, said))
				}
			}
		}
	}
	out = append(out, append(ports.muteRequests(target), ports.muteBytes(target)...)...)
	return append(out, ports.bypassed(target, m.waysIn(q, target.Destination))...)
}

// doubt says why nothing comes of letting callers in to a port, or is "".
func (p accountPorts) doubt(port int32) string {
	_, known := p.known[port]
	switch said := p.misread(port); {
	case p.excluded[port]:
		return fmt.Sprintf("port %d is kept out of the sidecar by annotation %s of the pods, so that everybody gets in: take it out there", port, sidecar.ExcludeInboundPorts)
	case known:
		return ""
	case said != "":
		return said
	}
	return fmt.Sprintf("no Service sends to port %d of the pods that run as the destination, and no container names it: they have %s", port, list(slices.Sorted(maps.Keys(p.known))))
}

// misread says which port of a Service was taken for one of its pods, or is "".
func (p accountPorts) misread(port int32) string {
	for _, svc := range p.services {
		for _, sp := range svc.Spec.Ports {
			at, found := template{Ports: p.named}.resolve(sp.TargetPort, sp.Port)
			switch {
			case !overTCP(sp) && (sp.Port == port || found && at == port):
				return fmt.Sprintf("port %d of Service %s carries %s, which no sidecar sees: guard it by a NetworkPolicy", sp.Port, svc.Name, transport(sp))
			case overTCP(sp) && (sp.Port == port || sp.NodePort == port) && found:
				return fmt.Sprintf("port %d is one of Service %s, and nothing is sent to the pods by that number: name the port of the pods that it stands for, %d", port, svc.Name, at)
			}
		}
	}
	return ""
}

func list(ports []int32) string {
	var out []string
	for _, p := range ports {
		out = append(out, fmt.Sprint(p))
	}
	return orNone(out)
}

// muteRequests tells of requests that may go to ports alone that carry none.
func (p accountPorts) muteRequests(target smi.Target) []string {
	carries := func(port int32) bool { at, known := p.known[port]; return !known || at.mayCarryHTTP() }
	for _, a := range target.Allows {
		if a.Traffic == smi.Requests && len(a.Ports) > 0 && !slices.ContainsFunc(a.Ports, carries) {
			return []string{fmt.Sprintf("spec.rules: beside TCPRoutes, an HTTPRouteGroup is about their ports alone, %s, which Services declare to carry no HTTP, so that no request is let in: write the TCPRoute into a TrafficTarget of its own, or add the ports of the requests", list(a.Ports))}
		}
	}
	return nil
}

// muteBytes tells of ports that declare nothing, where bytes are refused, beside others that are declared to
// carry the requests: they are hardly meant for the same.
func (p accountPorts) muteBytes(target smi.Target) (out []string) {
	for _, a := range target.Allows {
		if a.Traffic != smi.DeclaredBytes || !slices.ContainsFunc(a.Ports, func(port int32) bool { return p.known[port].HTTP() }) {
			continue
		}
		for _, port := range a.Ports {
			if at, known := p.known[port]; known && at == Undeclared {
				out = append(out, fmt.Sprintf("spec.rules[%s]: no Service declares what port %d carries, so that beside an HTTPRouteGroup it is open to requests alone: set appProtocol: tcp there if it carries no HTTP", allowed(a)[3], port))
			}
		}
	}
	return out
}

// bypassed tells of HTTPRouteGroups that mean nothing beside a TCPRoute of this TrafficTarget. They are those
// of another one: beside a group of its own, a TCPRoute lets no requests in.
func (p accountPorts) bypassed(target smi.Target, waysIn []smi.Allow) []string {
	for _, bytes := range target.Allows {
		for _, requests := range waysIn {
			if source := p.covers(bytes, requests); source != "" {
				return []string{fmt.Sprintf("spec.rules[%s]: it lets all requests of %s in, so that the HTTPRouteGroup of TrafficTarget %s keeps none of them out: name the TCPRoute there, beside the group, or take the port of the requests out of it", allowed(bytes)[3], source, allowed(requests)[2])}
			}
		}
	}
	return nil
}

// allowed are the parts of an Allow's name: the third is the TrafficTarget's, the fourth the rule's number.
func allowed(a smi.Allow) []string { return strings.Split(a.Name, "/") }

// covers is a source all of whose requests one Allow lets in, by a port of which another describes some; or "".
func (p accountPorts) covers(bytes, requests smi.Allow) string {
	if bytes.Traffic != smi.Bytes || requests.Traffic != smi.Requests {
		return ""
	}
	shared := func(port int32) bool {
		return p.known[port].mayCarryHTTP() && (len(bytes.Ports) == 0 || slices.Contains(bytes.Ports, port)) && (len(requests.Ports) == 0 || slices.Contains(requests.Ports, port))
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(p.known)), shared) {
		return ""
	}
	for _, source := range bytes.Sources {
		if slices.Contains(requests.Sources, source) {
			return source
		}
	}
	return ""
}
