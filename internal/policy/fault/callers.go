package fault

import (
	"regexp"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wire"
)

// All sidecars have the same Routes. Whose a sidecar is, its environment says (internal/sidecar); the filter of
// faults looks at headers. So a request has it in a header while it is in that filter.
const (
	callerHeader = "x-weft-caller"
	caller       = "%ENVIRONMENT(POD_NAMESPACE)%/%ENVIRONMENT(SERVICE_ACCOUNT)%"
)

// ofCallers are the filters that make a fault of the requests of some callers.
func ofCallers(from []v1alpha1.FaultCaller, f *faultv3.HTTPFault) *compositev3.FilterChainConfiguration {
	f.Headers = append(f.Headers, wire.Header(callerHeader, wire.Regex(anyOf(from))))
	return &compositev3.FilterChainConfiguration{TypedConfig: []*corev3.TypedExtensionConfig{
		mutation(&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: callerHeader, Value: caller},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}}),
		wire.Extension(faultName, f),
		mutation(&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: callerHeader}}),
	}}
}

// anyOf is the regular expression of some callers.
func anyOf(from []v1alpha1.FaultCaller) string {
	var ways []string
	for _, c := range from {
		account := "[^/]*"
		if c.ServiceAccount != "" {
			account = regexp.QuoteMeta(c.ServiceAccount)
		}
		ways = append(ways, regexp.QuoteMeta(c.Namespace)+"/"+account)
	}
	return strings.Join(ways, "|")
}

func mutation(m *mutationv3.HeaderMutation) *corev3.TypedExtensionConfig {
	return wire.Extension("envoy.filters.http.header_mutation", &mutationfilterv3.HeaderMutation{
		Mutations: &mutationfilterv3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{m}},
	})
}
