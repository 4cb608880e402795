// Package wire makes the small parts of Envoy's API that internal/envoy and the rooms of policies both write.
package wire

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Any packs a message. Its bytes are deterministic, so that equal models give equal resources.
func Any(m proto.Message) *anypb.Any {
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err) // only a string that is not UTF-8 gets here, and no API server stores one
	}
	return packed
}

// Extension is a message as the configuration of an extension of that name.
func Extension(name string, config proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: Any(config)}
}

// Header matches a header by its value.
func Header(name string, value *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value},
	}
}

// HeaderMatch matches a header as Gateway API describes it. Host is no header to Envoy, but :authority.
func HeaderMatch(h gwv1.HTTPHeaderMatch) *routev3.HeaderMatcher {
	value := Exactly(h.Value)
	if h.Type != nil && *h.Type == gwv1.HeaderMatchRegularExpression {
		value = Regex(h.Value)
	}
	name := string(h.Name)
	if strings.EqualFold(name, "host") {
		name = ":authority"
	}
	return Header(name, value)
}

// Exactly is that text.
func Exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

// Regex takes the whole of a string, not a part of it.
func Regex(regex string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: regex},
	}}
}

// RBAC is the name of Envoy's filter that decides by rules. It says in the metadata of a request, under that name, what it
// did and would do.
const RBAC = "envoy.filters.http.rbac"

// Result is the field in which one that refuses nothing, under a name of its own, has what it would do: allowed or denied.
func Result(name string) string { return name + "_shadow_engine_result" }

// Says matches the metadata of requests of which such a filter has said something in a field.
func Says(field, value string) *matcherv3.MetadataMatcher {
	return &matcherv3.MetadataMatcher{
		Filter: RBAC,
		Path:   []*matcherv3.MetadataMatcher_PathSegment{{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: field}}},
		Value:  &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: Exactly(value)}},
	}
}

// Said is true, in a rule, of the same requests.
func Said(field, value string) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: Says(field, value)}}}
}
