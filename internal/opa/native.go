package opa

import (
	"math"
	"net/netip"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/wire"
)

// caller is a formula as Envoy's Principal; false if some atom has no such form.
func caller(f formula) (*rbacv3.Principal, bool) {
	switch f.kind {
	case atomKind:
		return callerAsked(f.atom)
	case notKind:
		p, ok := caller(f.parts[0])
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: p}}, ok
	}
	set := &rbacv3.Principal_Set{}
	for _, part := range f.parts {
		p, ok := caller(part)
		if !ok {
			return nil, false
		}
		set.Ids = append(set.Ids, p)
	}
	if f.always() {
		return anybody(), true
	}
	if f.kind == allKind {
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: set}}, true
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: set}}, len(set.Ids) > 0
}

func anybody() *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}}
}

func callerAsked(a atom) (*rbacv3.Principal, bool) {
	switch {
	case a.op == within:
		block, ok := cidr(a.values[0])
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{DirectRemoteIp: block}}, ok
	case a.of.in("source"):
		id, ok := ofPrincipal(a)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{Authenticated: &rbacv3.Principal_Authenticated{PrincipalName: id}}}, ok
	case a.of.claim():
		v, ok := ofClaim(a)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: claimMatcher(a.of, v)}}}, ok
	case a.of.is(path), a.of.segment():
		v, ok := ofPath(a)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_UrlPath{UrlPath: &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: v}}}}, ok
	case a.of.in("request"):
		h, ok := ofHeader(a)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Header{Header: h}}, ok
	}
	return nil, false
}

// request is a formula as Envoy's Permission: it knows ports too.
func request(f formula) (*rbacv3.Permission, bool) {
	switch f.kind {
	case atomKind:
		return requestAsked(f.atom)
	case notKind:
		p, ok := request(f.parts[0])
		return &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: p}}, ok
	}
	set := &rbacv3.Permission_Set{}
	for _, part := range f.parts {
		p, ok := request(part)
		if !ok {
			return nil, false
		}
		set.Rules = append(set.Rules, p)
	}
	if f.always() {
		return anything(), true
	}
	if f.kind == allKind {
		return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: set}}, true
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: set}}, len(set.Rules) > 0
}

func anything() *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
}

func requestAsked(a atom) (*rbacv3.Permission, bool) {
	switch {
	case a.op == portIs:
		return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(a.number)}}, true
	case a.of.claim():
		v, ok := ofClaim(a)
		return &rbacv3.Permission{Rule: &rbacv3.Permission_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: claimMatcher(a.of, v)}}}, ok
	case a.of.is(path), a.of.segment():
		v, ok := ofPath(a)
		return &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: v}}}}, ok
	case a.of.in("request"):
		h, ok := ofHeader(a)
		return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: h}}, ok
	}
	return nil, false
}

// around is what expressions of a text are those of parts of it: what is around the part, and what ends it.
type around struct{ before, after, end string }

// textRegex is an expression for the whole of a text of which a part is asked; false if the atom asks for
// something else than text.
func textRegex(a atom, w around) (string, bool) {
	var all []string
	for _, v := range a.values {
		switch a.op {
		case isOne:
			all = append(all, regexp.QuoteMeta(v))
		case matching:
			all = append(all, v)
		case prefix:
			all = append(all, regexp.QuoteMeta(v)+w.rest())
		case suffix:
			all = append(all, w.rest()+regexp.QuoteMeta(v))
		}
	}
	if a.op == present || a.op == textual {
		all = []string{w.rest()}
	}
	return w.before + "(?:" + strings.Join(all, "|") + ")" + w.after, len(all) > 0
}

// rest is what may follow, or come before, in the part.
func (w around) rest() string { return anyBut(w.end) }

// ofPrincipal matches an ID by what is asked of it or of a part.
func ofPrincipal(a atom) (*matcherv3.StringMatcher, bool) {
	const part = "[^/]*"
	w := map[string]around{
		"principal": {}, "trust_domain": {"spiffe://", "/ns/" + part + "/sa/" + part, "/"},
		"namespace": {"spiffe://" + part + "/ns/", "/sa/" + part, "/"}, "service_account": {"spiffe://" + part + "/ns/" + part + "/sa/", "", "/"},
	}
	around, ok := w[a.of.last()]
	if !ok {
		return nil, false
	}
	if a.op == present {
		return wire.Regex("spiffe://.+"), true
	}
	if a.of.is(principal) && a.op == isOne && len(a.values) == 1 && a.values[0] != "" {
		return wire.Exactly(a.values[0]), true
	}
	regex, ok := textRegex(a, around)
	return wire.Regex(regex), ok
}

// ofPath matches the path by what is asked of it or of a segment.
func ofPath(a atom) (*matcherv3.StringMatcher, bool) {
	if a.of.is(path) && len(a.values) == 1 {
		switch a.op {
		case isOne:
			return wire.Exactly(a.values[0]), true
		case prefix:
			return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: a.values[0]}}, true
		}
	}
	w := around{}
	if a.of.segment() {
		w = around{"/" + strings.Repeat("[^/]*/", a.of.index()), "(?:/.*)?", "/"}
	}
	regex, ok := textRegex(a, w)
	return wire.Regex(regex), ok
}

// ofHeader matches a header; the host by what comes before its port, in small letters.
func ofHeader(a atom) (*routev3.HeaderMatcher, bool) {
	name := map[string]string{"method": ":method", "host": ":authority"}[a.of.last()]
	switch {
	case a.of.header():
		name = a.of.last()
	case a.of.is(host):
		return ofHost(a)
	}
	if a.op == present {
		return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}, name != ""
	}
	if a.op == isOne && len(a.values) == 1 && a.values[0] != "" {
		return wire.Header(name, wire.Exactly(a.values[0])), name != ""
	}
	regex, ok := textRegex(a, around{})
	return wire.Header(name, wire.Regex(regex)), ok && name != ""
}

func ofHost(a atom) (*routev3.HeaderMatcher, bool) {
	if a.op == present {
		return &routev3.HeaderMatcher{Name: ":authority", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}, true
	}
	regex, ok := textRegex(a, around{"(?i:", "(?::.*)?)", ":"})
	return wire.Header(":authority", wire.Regex(regex)), ok
}

func cidr(block string) (*corev3.CidrRange, bool) {
	p, err := netip.ParsePrefix(block)
	if err != nil {
		return nil, false
	}
	return &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}, true
}

// claimsNamespace is the one of a request's dynamic metadata that verified tokens are in.
const claimsNamespace = "envoy.filters.http.jwt_authn"

func claimMatcher(a attribute, v *matcherv3.ValueMatcher) *matcherv3.MetadataMatcher {
	out := &matcherv3.MetadataMatcher{Filter: claimsNamespace, Value: v}
	for _, key := range a[1:] {
		out.Path = append(out.Path, &matcherv3.MetadataMatcher_PathSegment{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: key}})
	}
	return out
}

// ofClaim matches a claim of the type that is asked for.
func ofClaim(a atom) (*matcherv3.ValueMatcher, bool) {
	switch a.op {
	case present:
		return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_PresentMatch{PresentMatch: true}}, true
	case null:
		return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_NullMatch_{NullMatch: &matcherv3.ValueMatcher_NullMatch{}}}, true
	case atLeast:
		return between(a.number, math.Inf(1)), true
	case lessThan:
		return between(math.Inf(-1), a.number), true
	case has:
		return listOf(textValue(wire.Exactly(a.values[0]))), true
	}
	if a.op != isOne {
		regex, ok := textRegex(a, around{})
		return textValue(wire.Regex(regex)), ok
	}
	any := &matcherv3.OrMatcher{}
	for _, v := range a.values {
		any.ValueMatchers = append(any.ValueMatchers, textValue(wire.Exactly(v)))
	}
	if len(any.ValueMatchers) == 1 {
		return any.ValueMatchers[0], true
	}
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_OrMatch{OrMatch: any}}, true
}

func textValue(m *matcherv3.StringMatcher) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: m}}
}

func listOf(v *matcherv3.ValueMatcher) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_ListMatch{ListMatch: &matcherv3.ListMatcher{
		MatchPattern: &matcherv3.ListMatcher_OneOf{OneOf: v},
	}}}
}

func between(from, to float64) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_DoubleMatch{DoubleMatch: &matcherv3.DoubleMatcher{
		MatchPattern: &matcherv3.DoubleMatcher_Range{Range: &typev3.DoubleRange{Start: from, End: to}},
	}}}
}
