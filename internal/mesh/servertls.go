package mesh

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/servertls"
)

// Reasons why a policy's serverTLS does not hold.
const (
	reasonUnguarded           = "Unguarded"           // nothing checks who is let in
	reasonUnsupportedProtocol = "UnsupportedProtocol" // the port carries no HTTP
	reasonInvalidCertificate  = "InvalidCertificateRef"
	reasonCertificateNotFound = "CertificateNotFound" // it may come after the policy
)

// ServerTLS is the TLS of clients outside the mesh that a port ends.
type ServerTLS struct {
	Hostnames []string // SNI to match: exact or "*.example.com", ordered, each once
	Secrets   []string // SDS names of the certificates, at least one
}

// serverTLS is what a port of a workload ends of public TLS, by the policies that select it; nil: nothing.
func (m *Mesh) serverTLS(q *incr.Query, w workload, port InboundPort, chosen []selected) *ServerTLS {
	says := decide(servertls.Section, chosen, enforced).Says
	if !servertls.Opens(says) || !readable(port.Protocol) {
		return nil
	}
	out := &ServerTLS{Hostnames: slices.Clone(says.Hostnames)}
	slices.Sort(out.Hostnames)
	out.Hostnames = slices.Compact(out.Hostnames)
	for _, ref := range says.CertificateRefs {
		if k := key(w.Namespace, ref.Name); m.secrets.Get(q, k).problem.OK() || m.servedBefore(q, k) {
			out.Secrets = append(out.Secrets, secretName(k))
		}
	}
	if len(out.Secrets) == 0 {
		return nil
	}
	return out
}

// readable says whether what a port carries inside TLS can be read as HTTP.
func readable(p Protocol) bool { return p.HTTP() || p == Undeclared }

// endsTLS says whether the sidecars behind a Service's port end the TLS of clients.
func (m *Mesh) endsTLS(q *incr.Query, service string, port int32) bool {
	namespace, name, _ := strings.Cut(service, "/")
	_, p, ok := m.portOf(q, service, port)
	if !ok || !readable(declared(p)) {
		return false
	}
	about := m.about(q, []string{group(room.Service, namespace, name)}, func(s subject) bool { return !s.part() || s.names(p) })
	var written []room.Written[v1alpha1.ServerTLS]
	for _, p := range about {
		if says := servertls.Section.Of(&p.Spec); says != nil && slices.Contains(enforced, p.Spec.Mode) {
			written = append(written, room.Written[v1alpha1.ServerTLS]{Policy: p.key(), Level: p.Level, Says: says})
		}
	}
	return servertls.Opens(servertls.Section.Decide(written).Says)
}

// serverTLSProblem is what keeps a policy's serverTLS from holding at a target.
func (m *Mesh) serverTLSProblem(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) Verdict {
	says := p.Spec.ServerTLS
	if says == nil {
		return Verdict{}
	}
	if !servertls.Opens(says) {
		return wrong(reasonUnguarded, "spec.serverTLS: it would let clients in at %s whom nothing checks, so the port stays closed to them: set spec.serverTLS.unguarded to Accept if the app checks them itself", s)
	}
	problems := []Verdict{m.unreadable(q, s)}
	for i, ref := range says.CertificateRefs {
		problems = append(problems, m.badCertificate(q, key(p.Namespace, ref.Name), fmt.Sprintf("spec.serverTLS.certificateRefs[%d]", i)))
	}
	return join(worstFirst(problems))
}

// unreadable finds a port of a target that is declared to carry something else than HTTP.
func (m *Mesh) unreadable(q *incr.Query, s subject) Verdict {
	svc, ok := m.Services.Get(q, key(s.Namespace, s.Name))
	if !ok {
		return Verdict{}
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return (!s.part() || s.names(p)) && !routable(p) })
	if i < 0 {
		return Verdict{}
	}
	return wrong(reasonUnsupportedProtocol, "%s: port %d of Service %s is declared to carry something else than HTTP, which is what the app is given once its sidecar has ended TLS: see its protocol, appProtocol and name", s.Field, svc.Spec.Ports[i].Port, key(s.Namespace, s.Name))
}

// badCertificate is what is wrong with a Secret that a policy names.
func (m *Mesh) badCertificate(q *incr.Query, k, field string) Verdict {
	problem := m.secrets.Get(q, k).problem
	switch {
	case problem.OK():
		return Verdict{}
	case problem.Reason == reasonNotFound:
		return wrong(reasonCertificateNotFound, "%s: %s: create it, or name another", field, problem.Message)
	case m.servedBefore(q, k):
		problem.Message += "; the last certificate that was usable stays in force"
	}
	return wrong(reasonInvalidCertificate, "%s: %s", field, problem.Message)
}
