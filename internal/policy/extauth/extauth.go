// Package extauth is the section extAuth, and what it has in common with an HTTPRoute's filter ExternalAuth: a server
// that is asked about each request.
//
//	the section ─→ as a filter ─┐
//	filters of HTTPRoutes ──────┴→ read (filter.go) → a Question (question.go) → Envoy's ext_authz
package extauth

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about requests, and guards them.
var Section = room.Section[v1alpha1.ExtAuth]{
	Name:     "extAuth",
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.ExtAuth { return spec.ExtAuth },
	On:       []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Traffic:  room.Traffic[v1alpha1.ExtAuth]{Refers: refers},
	Guarding: room.Guarding[v1alpha1.ExtAuth]{Guard: guard},
}

const refused = "requests are answered 503"

// refers has a Reference to the server and, where the section cannot be served as it is written, one more to what is
// wrong: then it does not merely not hold, which would let all pass.
func refers(s *v1alpha1.ExtAuth) []room.Reference {
	server := room.Reference{Field: ".backendRef", Server: &s.BackendRef, ByHTTP: s.Protocol == "HTTP", Instead: refused}
	if s.FailOpen {
		server.Instead = "requests go on without it"
	}
	field, problem, wrong := strings.Cut(Problem(s.Filter()), ": ")
	if !wrong {
		return []room.Reference{server}
	}
	return []room.Reference{server, {Field: field, Check: func(string) string { return problem }, Instead: refused}}
}

// guard has the servers asked, those of the outer levels first. What one of them alone fills, no later one takes off:
// it has it from there.
func guard(said []room.Written[v1alpha1.ExtAuth], found [][]room.Referent, _ room.Kind) (out []*corev3.TypedExtensionConfig) {
	var asked, filled []string
	for i, w := range said {
		if slices.Contains(asked, w.Policy) {
			continue
		}
		asked = append(asked, w.Policy)
		a := question(w.Says)
		own := slices.DeleteFunc(a.Sole(), func(header string) bool { return slices.Contains(filled, header) })
		filled = append(filled, own...)
		there := i < len(found) && len(found[i]) > 0 && found[i][0].Problem == ""
		switch out = append(out, Without(own)...); {
		case Problem(w.Says.Filter()) != "":
			out = append(out, room.Refuse(503))
		case there:
			a.Authority = found[i][0].Authority
			out = append(out, a.Check(found[i][0].Cluster))
		case !a.FailOpen:
			out = append(out, room.Refuse(503))
		}
	}
	return out
}

func question(s *v1alpha1.ExtAuth) Question {
	out := Read(s.Filter())
	out.Limit, out.FailOpen = room.Length(s.Timeout), s.FailOpen
	for _, header := range s.ServerHeaders {
		if name := strings.ToLower(string(header)); !slices.Contains(out.ServerHeaders, name) {
			out.ServerHeaders = append(out.ServerHeaders, name)
		}
	}
	return out
}
