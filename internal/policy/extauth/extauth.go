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

// guard has the server asked. Of the filters in one place those that come after one whose answer is waited for are passed
// over, so that one server can be asked about a request, and last: where policies have several asked, all is refused.
func guard(said []room.Written[v1alpha1.ExtAuth], found [][]room.Referent, _ room.Kind) []*corev3.TypedExtensionConfig {
	first := said[0]
	a := question(first.Says)
	several := slices.ContainsFunc(said, func(w room.Written[v1alpha1.ExtAuth]) bool { return w.Policy != first.Policy })
	there := len(found) > 0 && len(found[0]) > 0 && found[0][0].Problem == ""
	switch own := room.Without(a.Sole(), nil); {
	case several || Problem(first.Says.Filter()) != "" || !there && !a.FailOpen:
		return []*corev3.TypedExtensionConfig{room.Refuse(503)}
	case there:
		a.Authority = found[0][0].Authority
		return append(own, a.Check(found[0][0].Cluster))
	default:
		return own
	}
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
