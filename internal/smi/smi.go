// Package smi says what the kinds of the Service Mesh Interface mean in the words of Gateway API, so that
// they are served as its routes are.
//
//	TrafficSplit, HTTPRouteGroup → rules of an HTTPRoute → internal/mesh
//	TrafficTarget, HTTPRouteGroup, TCPRoute → Allows ────┘
package smi

import (
	"maps"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// ServiceName is the name of a Service that is written as its name or as its DNS name; false if that is of
// another namespace, or no Service's.
func ServiceName(written, namespace string) (name string, ok bool) {
	parts := strings.SplitN(strings.TrimSuffix(written, "."), ".", 4)
	ok = len(parts) < 2 || parts[1] == namespace
	return parts[0], ok && (len(parts) < 3 || parts[2] == "svc")
}

// Backend is a Service that gets a part of what a TrafficSplit is about.
type Backend struct {
	Service string // as it is written
	Weight  uint32
	Index   int // of the first of spec.backends that names it
}

// Backends are those of a TrafficSplit, each once, with the sum of its weights.
func Backends(s *split.TrafficSplit) (out []Backend) {
	at := map[string]int{}
	for i, b := range s.Spec.Backends {
		name, _ := ServiceName(b.Service, s.Namespace)
		was, again := at[name]
		if !again {
			was, at[name] = len(out), len(out)
			out = append(out, Backend{Service: b.Service, Index: i})
		}
		out[was].Weight += uint32(max(0, b.Weight))
	}
	return out
}

// Matches are a match of an HTTPRouteGroup as matches of an HTTPRoute: a request meets one of them exactly
// if it meets that one.
func Matches(m *specs.HTTPMatch) (out []gwv1.HTTPRouteMatch) {
	var match gwv1.HTTPRouteMatch
	if m.PathRegex != "" {
		match.Path = &gwv1.HTTPPathMatch{Type: new(gwv1.PathMatchRegularExpression), Value: new(PathRegex(m.PathRegex))}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		match.Headers = append(match.Headers, gwv1.HTTPHeaderMatch{
			Type: new(gwv1.HeaderMatchRegularExpression), Name: gwv1.HTTPHeaderName(name), Value: string(m.Headers[name]),
		})
	}
	if len(m.Methods) == 0 || slices.Contains(m.Methods, specs.AnyMethod) {
		return []gwv1.HTTPRouteMatch{match}
	}
	for _, method := range m.Methods {
		match.Method = new(gwv1.HTTPMethod(method))
		out = append(out, match)
	}
	return out
}

// PathRegex is a pathRegex as a regular expression for a whole path: SMI's is anchored at the beginning only.
func PathRegex(expression string) string { return "(?:" + expression + ").*" }
