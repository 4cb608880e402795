package compression

import (
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// made are the compressors of a Route, and the names of their libraries.
func made(t *testing.T, text string) (out []*compressorv3.Compressor, names []string) {
	t.Helper()
	r := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
	compress(roomtest.Written[v1alpha1.Compression](t, text), r)
	route, action := &compositev3.CompositePerRoute{}, &compositev3.ExecuteFilterAction{}
	roomtest.Unpack(t, r.TypedPerFilterConfig[Section.Filter.Name], route)
	roomtest.Unpack(t, route.Matcher.OnNoMatch.GetAction().TypedConfig, action)
	for _, config := range action.FilterChain.TypedConfig {
		c := &compressorv3.Compressor{}
		roomtest.Unpack(t, config.TypedConfig, c)
		if err := c.ValidateAll(); err != nil {
			t.Errorf("%s: Envoy would refuse it: %v", text, err)
		}
		out, names = append(out, c), append(names, nameOf(c.CompressorLibrary))
	}
	return out, names
}

// nameOf is the name of a library, which counts it, and what it is.
func nameOf(library *corev3.TypedExtensionConfig) string {
	return library.Name + " " + library.TypedConfig.TypeUrl[strings.LastIndex(library.TypedConfig.TypeUrl, ".")+1:]
}

func TestWhatIsSaid(t *testing.T) {
	all, names := made(t, `{algorithms: [Gzip, Zstd], contentTypes: [text/html, application/wasm], minContentLength: 7, disableOnETagHeader: true}`)
	if !slices.Equal(names, []string{"gzip Gzip", "zstd Zstd"}) {
		t.Fatalf("compressors %v", names)
	}
	for i, c := range all {
		if c.ChooseFirst != (i == 0) {
			t.Errorf("%s is preferred: %v", names[i], c.ChooseFirst)
		}
		answers := c.ResponseDirectionConfig
		types := answers.CommonConfig.ContentTypeMatcher
		if len(types) != 2 || types[1].GetExact() != "application/wasm" || !types[1].IgnoreCase || answers.CommonConfig.MinContentLength.Value != 7 {
			t.Errorf("of which answers: %v", answers)
		}
		if !answers.DisableOnEtagHeader || answers.WeakenEtagOnCompress {
			t.Errorf("of ETags: %v", answers)
		}
	}
}

func TestWhatIsNotSaid(t *testing.T) {
	all, names := made(t, `{}`)
	if !slices.Equal(names, []string{"brotli Brotli", "zstd Zstd", "gzip Gzip"}) {
		t.Fatalf("compressors %v", names)
	}
	answers := all[2].ResponseDirectionConfig
	if n := len(answers.CommonConfig.ContentTypeMatcher); n != 0 || answers.CommonConfig.MinContentLength.Value != defaultLength {
		t.Errorf("of which answers: %v", answers)
	}
	if answers.DisableOnEtagHeader || !answers.WeakenEtagOnCompress || !slices.Equal(answers.UncompressibleResponseCodes, []uint32{206}) {
		t.Errorf("of ETags and parts: %v", answers)
	}
}

// TestNothingToCompress: neither where it is switched off, nor a redirect.
func TestNothingToCompress(t *testing.T) {
	for text, r := range map[string]*routev3.Route{
		`{disabled: true}`: {Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}},
		`{}`:               {Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{}}},
	} {
		if compress(roomtest.Written[v1alpha1.Compression](t, text), r); len(r.TypedPerFilterConfig) > 0 {
			t.Errorf("%s: %v", text, r)
		}
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                            "",
		`{algorithms: [Gzip, Deflate]}`: ".algorithms[1]: there is no Deflate: set",
		`{contentTypes: [text/html, application/grpc]}`:               ".contentTypes[1]: calls of gRPC",
		`{contentTypes: [Application/gRPC-web+proto]}`:                ".contentTypes[0]: calls of gRPC",
		`{contentTypes: [application/graphql], algorithms: [Brotli]}`: "",
	} {
		got := problem(roomtest.Written[v1alpha1.Compression](t, text), room.Gateway, false)
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}
