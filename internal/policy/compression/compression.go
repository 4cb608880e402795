// Package compression is the section compression: what Gateways answer is compressed for clients that accept it.
package compression

import (
	"fmt"
	"strings"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	brotliv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/brotli/compressor/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	zstdv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/zstd/compressor/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about what is answered to requests that come by Gateways. A caller's sidecar would compress what
// has come over the network already, and have its own pod undo it.
var Section = room.Section[v1alpha1.Compression]{
	Name:    "compression",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Compression { return spec.Compression },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Gateway, room.HTTPRoute},
	Holds:   room.Innermost[v1alpha1.Compression],
	Traffic: room.Traffic[v1alpha1.Compression]{Request: compress, Filter: room.Place(filter), Problem: problem, Gateways: true},
}

const (
	// filter is where the compressors of Routes are. Each is of one algorithm, and a Route could say to it neither
	// what types are compressed nor from which length on.
	filter = "weft.compression"

	defaultLength  = 1024
	partialContent = 206
	grpcType       = "application/grpc"
)

// libraries are what compresses.
var libraries = map[v1alpha1.CompressionAlgorithm]proto.Message{
	v1alpha1.Brotli: &brotliv3.Brotli{},
	v1alpha1.Gzip:   &gzipv3.Gzip{},
	v1alpha1.Zstd:   &zstdv3.Zstd{},
}

var defaultAlgorithms = []v1alpha1.CompressionAlgorithm{v1alpha1.Brotli, v1alpha1.Zstd, v1alpha1.Gzip}

func problem(s *v1alpha1.Compression, _ room.Kind, _ bool) string {
	for i, a := range s.Algorithms {
		if libraries[a] == nil {
			return fmt.Sprintf(".algorithms[%d]: there is no %s: set Brotli, Gzip or Zstd", i, a)
		}
	}
	for i, t := range s.ContentTypes {
		if strings.HasPrefix(strings.ToLower(string(t)), grpcType) {
			return fmt.Sprintf(".contentTypes[%d]: calls of gRPC are compressed by those who make them: leave %s out", i, t)
		}
	}
	return ""
}

// compress has what a Route answers compressed, if it sends requests on.
func compress(s *v1alpha1.Compression, r *routev3.Route) {
	if s.Disabled || r.GetRoute() == nil {
		return
	}
	chain := &compositev3.FilterChainConfiguration{TypedConfig: compressors(s)}
	room.Fill(r, filter, &xdsmatcherv3.Matcher{OnNoMatch: room.Run("compress", &compositev3.ExecuteFilterAction{FilterChain: chain})})
}

// compressors settle among themselves which of them works. Of "*" it is the first of the chain; of what a client
// likes as much, the one that is marked, if it is among it.
func compressors(s *v1alpha1.Compression) (out []*corev3.TypedExtensionConfig) {
	algorithms := s.Algorithms
	if len(algorithms) == 0 {
		algorithms = defaultAlgorithms
	}
	for i, a := range algorithms {
		out = append(out, wire.Extension("envoy.filters.http.compressor", &compressorv3.Compressor{
			CompressorLibrary:       wire.Extension(strings.ToLower(string(a)), libraries[a]),
			ChooseFirst:             i == 0,
			ResponseDirectionConfig: answers(s),
		}))
	}
	return out
}

// answers says which are compressed: by type Envoy's own list, unless there is one. A part of an answer has its
// place in the bytes of the whole.
func answers(s *v1alpha1.Compression) *compressorv3.Compressor_ResponseDirectionConfig {
	common := &compressorv3.Compressor_CommonDirectionConfig{MinContentLength: room.Number(s.MinContentLength, defaultLength)}
	for _, t := range s.ContentTypes {
		common.ContentTypeMatcher = append(common.ContentTypeMatcher, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: string(t)}, IgnoreCase: true,
		})
	}
	return &compressorv3.Compressor_ResponseDirectionConfig{
		CommonConfig:                common,
		DisableOnEtagHeader:         s.DisableOnETagHeader,
		WeakenEtagOnCompress:        !s.DisableOnETagHeader,
		UncompressibleResponseCodes: []uint32{partialContent},
	}
}
