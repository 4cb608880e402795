package smi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
)

// group allows the requests that a rule names of an HTTPRouteGroup, unless they may go to no port.
func (c *compiler) group(i int, r access.TrafficTargetRule, ports []int32, shut bool) {
	group, ok := c.specs.HTTPRouteGroup(r.Name)
	if !ok {
		c.missing(i, r)
		return
	}
	for j, name := range r.Matches {
		if !slices.ContainsFunc(group.Spec.Matches, func(m specs.HTTPMatch) bool { return m.Name == name }) {
			c.problem(ReasonNotFound, "spec.rules[%d].matches[%d]: HTTPRouteGroup %s/%s has no match %q, so that it allows nothing: it has %s", i, j, c.Namespace, r.Name, name, named(group.Spec.Matches))
		}
	}
	for j, m := range group.Spec.Matches {
		if len(r.Matches) > 0 && !slices.Contains(r.Matches, m.Name) {
			continue
		}
		request, unfit := c.specs.request(m)
		if unfit.What != "" {
			c.problem(ReasonInvalidMatch, "spec.rules[%d]: HTTPRouteGroup %s/%s: spec.matches[%d]%s, so that %q allows nothing: %s", i, c.Namespace, r.Name, j, unfit.What, m.Name, unfit.Remedy)
			continue
		}
		if !shut {
			c.allow(Allow{Name: fmt.Sprintf("%d/%s", i, m.Name), Ports: ports, Traffic: Requests, Request: request})
		}
	}
	if len(group.Spec.Matches) == 0 {
		c.problem(ReasonInvalidMatch, "spec.rules[%d]: HTTPRouteGroup %s/%s has no match, so that the rule allows nothing: give it one", i, c.Namespace, r.Name)
	}
}

func named(matches []specs.HTTPMatch) string {
	var names []string
	for _, m := range matches {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return "none with a name"
	}
	return strings.Join(names, ", ")
}

// Fault is what keeps a TrafficTarget from allowing anything by a match; nothing, by its zero value.
type Fault struct {
	What   string // after the match's own place
	Remedy string
	Silent bool // the match says nothing
}

// Unfit is what keeps a TrafficTarget from allowing anything by a match, by what Specs know of expressions
// and headers.
func Unfit(m specs.HTTPMatch, regex func(string) error, header func(string) bool) Fault {
	_, unfit := Specs{Regex: regex, Header: header}.request(m)
	return unfit
}

// request is a match as it is enforced, or what keeps it from being. One that says nothing is taken for a
// mistake: the API server drops fields that it does not know, and what is left of a misspelt one must not
// allow everything.
func (s Specs) request(m specs.HTTPMatch) (Request, Fault) {
	out := Request{Path: m.PathRegex}
	if len(m.Methods) == 0 && m.PathRegex == "" && len(m.Headers) == 0 {
		return out, Fault{" says nothing of methods, pathRegex or headers", "write pathRegex: .* if it stands for all requests, or correct the field that was misspelt", true}
	}
	if m.PathRegex != "" {
		if err := s.Regex(m.PathRegex); err != nil {
			return out, Fault{What: fmt.Sprintf(".pathRegex cannot be used: %v", err), Remedy: "correct it"}
		}
	}
	for _, method := range m.Methods {
		out.Methods = append(out.Methods, string(method))
	}
	if slices.Contains(m.Methods, specs.AnyMethod) {
		out.Methods = nil
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		value, lower := string(m.Headers[name]), strings.ToLower(name)
		switch err := s.Regex(value); {
		case !s.Header(name) || lower == "host":
			return out, Fault{What: fmt.Sprintf(".headers: no request has a header %q to match by", name), Remedy: "remove it"}
		case err != nil:
			return out, Fault{What: fmt.Sprintf(".headers[%s] cannot be used: %v", name, err), Remedy: "correct it"}
		case slices.ContainsFunc(out.Headers, func(h Header) bool { return h.Name == lower }):
			return out, Fault{What: fmt.Sprintf(".headers: %q is there twice, in other letters", name), Remedy: "remove one"}
		}
		out.Headers = append(out.Headers, Header{lower, value})
	}
	slices.SortFunc(out.Headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return out, Fault{}
}
