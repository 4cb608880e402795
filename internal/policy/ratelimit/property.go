package ratelimit

import (
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	exprv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rate_limit_descriptors/expr/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// networkBits is what is taken for one client of IPv6, which has as many addresses in it as it likes.
const networkBits = 64

// ownPod is the caller of all that a sidecar sends.
const ownPod = "own"

// whoCalls is the first URI name of the client's certificate or, without one, its subject; all without a
// certificate are one.
const whoCalls = `has(connection.uri_san_peer_certificate) ? connection.uri_san_peer_certificate : ` +
	`has(connection.subject_peer_certificate) ? connection.subject_peer_certificate : ''`

// property is the action that finds a property of a request. Where it finds none, the limit is not met.
func property(p v1alpha1.RequestProperty, gateway bool) *routev3.RateLimit_Action {
	key := keyOf(p)
	switch p.Type {
	case "Header":
		return ofHeader(p.Header, key)
	case "Method":
		return ofHeader(":method", key)
	case "Path":
		return expression("request.url_path", key)
	case "Claim":
		return ofClaim(p.Claim, key)
	case "Caller":
		if !gateway {
			return fixed(key, ownPod)
		}
		return expression(whoCalls, key)
	}
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{
		MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{V6PrefixMaskLen: wrapperspb.UInt32(networkBits)},
	}}
}

// entry is what a limit wants a property to be; without a value, each has a bucket of its own.
func entry(p v1alpha1.RequestProperty) *ratelimitv3.RateLimitDescriptor_Entry {
	return &ratelimitv3.RateLimitDescriptor_Entry{Key: keyOf(p), Value: p.Value}
}

func keyOf(p v1alpha1.RequestProperty) string {
	switch p.Type {
	case "Header":
		return "header " + strings.ToLower(p.Header)
	case "SourceIP":
		return "masked_remote_address" // which Envoy calls it
	case "Claim":
		return fmt.Sprintf("claim %q", p.Claim)
	}
	return strings.ToLower(p.Type)
}

// marked finds the mark of a policy.
func marked(policy string) *routev3.RateLimit_Action {
	return metadata(routev3.RateLimit_Action_MetaData_ROUTE_ENTRY, room.MarkedBy, room.Mark(name), policy)
}

// ofClaim finds a claim of a verified token.
func ofClaim(path []string, key string) *routev3.RateLimit_Action {
	return metadata(routev3.RateLimit_Action_MetaData_DYNAMIC, key, room.ClaimsNamespace, append([]string{room.Claims}, path...)...)
}

func metadata(from routev3.RateLimit_Action_MetaData_Source, key, namespace string, path ...string) *routev3.RateLimit_Action {
	at := &metadatav3.MetadataKey{Key: namespace}
	for _, part := range path {
		at.Path = append(at.Path, &metadatav3.MetadataKey_PathSegment{Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: part}})
	}
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_Metadata{Metadata: &routev3.RateLimit_Action_MetaData{
		DescriptorKey: key, Source: from, MetadataKey: at,
	}}}
}

func fixed(key, value string) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{
		GenericKey: &routev3.RateLimit_Action_GenericKey{DescriptorKey: key, DescriptorValue: value},
	}}
}

func ofHeader(name, key string) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
		RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: name, DescriptorKey: key},
	}}
}

// expression finds what one of CEL says.
func expression(text, key string) *routev3.RateLimit_Action {
	config := &exprv3.Descriptor{DescriptorKey: key, ExprSpecifier: &exprv3.Descriptor_Text{Text: text}}
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_Extension{
		Extension: wire.Extension("envoy.rate_limit_descriptors.expr", config),
	}}
}
