package mesh

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/extauth"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// A server that sidecars ask by the section extAuth is in the mesh itself, maybe, so that its own sidecar would ask
// about the questions. Where that came round to the same server, a request would never be answered. So a port of a
// server is spared what a policy asks if that policy names the server itself, or comes no earlier in the precedence of
// policies than another one that does, and its questions may come round to that. In each circle the innermost policy
// is spared, so that there is none, and no inner policy spares a server what an outer one asks.

// asking are the policies with the section.
type asking struct {
	askersOf *incr.Index[string, string] // by the Service that they name
	askersIn *incr.Index[string, string] // by their namespace
}

func layAsking(t *cluster.Tables) asking {
	return asking{
		askersOf: incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string {
			if service, _, asks := serverOf(p); asks {
				return []string{service}
			}
			return nil
		}),
		askersIn: incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string {
			if p.Spec.ExtAuth != nil {
				return []string{p.Namespace}
			}
			return nil
		}),
	}
}

// serverOf is the Service that a policy has asked, and its port.
func serverOf(p *v1alpha1.MeshPolicy) (service string, port int32, asks bool) {
	if p.Spec.ExtAuth == nil || p.Spec.ExtAuth.BackendRef.Port == nil {
		return "", 0, false
	}
	ref := p.Spec.ExtAuth.BackendRef
	namespace := p.Namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	return key(namespace, string(ref.Name)), int32(*ref.Port), true
}

// asker is a policy by which sidecars ask, as it is about the outermost of its targets that have some.
type asker struct {
	selected
	server string // the key of its Service
	port   int32  // of that
}

// asker is one by its key; false where none of its targets is about pods, or nobody may be asked by it.
func (m *Mesh) asker(q *incr.Query, k string) (out asker, asks bool) {
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok {
		return out, false
	}
	if out.server, out.port, ok = serverOf(p); !ok {
		return out, false
	}
	r := extauth.Section.Room()
	for _, found := range m.referentsOf(q, r, k, room.Service) {
		if found.Problem != "" {
			return out, false
		}
	}
	for _, s := range subjects(p) {
		one := selected{p, s.level(), s}
		if ofPods(s) && m.heldIn(q, one, r) && (!asks || one.Level < out.Level) {
			out.selected, asks = one, true
		}
	}
	return out, asks
}

func ofPods(s subject) bool { return s.Kind != room.Gateway && !ofRoutes(s) }

// spared says whether a port of a workload is that of a server about which a section of a policy has nobody asked.
func (m *Mesh) spared(q *incr.Query, section, policy string, w workload, port int32) bool {
	if section != extauth.Section.Name || port == otherPorts {
		return false
	}
	own, asks := m.asker(q, policy)
	if !asks {
		return false
	}
	for _, service := range w.Services {
		for _, k := range m.askersOf.Get(q, service) {
			if other, asks := m.asker(q, k); asks && m.leadsTo(q, service, other.port, w, port) &&
				(k == policy || precedence(other.selected, own.selected) <= 0 && m.comesTo(q, own, k)) {
				return true
			}
		}
	}
	return false
}

// leadsTo says whether a port of a Service is one of a workload's pods.
func (m *Mesh) leadsTo(q *incr.Query, service string, port int32, w workload, at int32) bool {
	namespace, name := namespaceIn(service), service[len(namespaceIn(service))+1:]
	return slices.Contains(m.podPorts(q, subject{Kind: room.Service, Namespace: namespace, Name: name, Port: port}, w), at)
}

// comesTo says whether questions by one policy may be asked about by another one, or by one whose questions are, and so
// on.
func (m *Mesh) comesTo(q *incr.Query, from asker, to string) bool {
	seen := map[string]bool{}
	for next := []string{from.server}; len(next) > 0; next = next[1:] {
		for _, k := range m.askedAbout(q, next[0]) {
			if k == to {
				return true
			}
			if a, asks := m.asker(q, k); asks && !seen[k] {
				seen[k], next = true, append(next, a.server)
			}
		}
	}
	return false
}

// askedAbout are the policies that may be about some pods of a Service.
func (m *Mesh) askedAbout(q *incr.Query, service string) (out []string) {
	svc, ok := m.Services.Get(q, service)
	if !ok {
		return nil
	}
	candidates := m.askersIn.Get(q, svc.Namespace)
	if svc.Namespace != v1alpha1.SystemNamespace {
		candidates = slices.Concat(candidates, m.askersIn.Get(q, v1alpha1.SystemNamespace))
	}
	for _, k := range candidates {
		p, ok := m.MeshPolicies.Get(q, k)
		if ok && slices.ContainsFunc(subjects(p), func(s subject) bool { return m.mayHavePodsOf(q, s, svc) }) {
			out = append(out, k)
		}
	}
	return out
}

// mayHavePodsOf says whether a subject may be about some pods of a Service.
func (m *Mesh) mayHavePodsOf(q *incr.Query, s subject, svc *corev1.Service) bool {
	switch {
	case s.Kind == room.Mesh:
		return true
	case s.Namespace != svc.Namespace || !ofPods(s):
		return false
	case s.Kind == room.Pods:
		return s.Selector == nil || compatible(s.Selector.MatchLabels, svc.Spec.Selector)
	case s.Kind == room.Service && s.Name != svc.Name:
		other, ok := m.Services.Get(q, key(s.Namespace, s.Name))
		return ok && compatible(other.Spec.Selector, svc.Spec.Selector)
	}
	return true
}

// compatible says whether something can have the labels of both.
func compatible(a, b map[string]string) bool {
	for name, value := range a {
		if other, is := b[name]; is && other != value {
			return false
		}
	}
	return true
}

// unanswered says that nobody is there to be asked, by what was found of a section's reference to a server.
func (m *Mesh) unanswered(q *incr.Query, field string, ref room.Reference, found room.Referent) Verdict {
	if found.Reached == "" {
		return Verdict{}
	}
	at := parseCluster(found.Reached)
	svc, port, ok := m.portOf(q, at.service, at.port)
	if !ok || len(m.addressesOf(q, svc, port.Name).usable()) > 0 {
		return Verdict{}
	}
	return wrong(reasonServerUnavailable, "%s: port %d of Service %s has no ready pod: start one, or name another (%s)", field, at.port, at.service, ref.Instead)
}
