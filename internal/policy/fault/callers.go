package fault

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// callerHeader has whose a sidecar is while a request is in the filter of faults, which looks at headers.
const callerHeader = "x-weft-caller"

// ofCallers are the filters that make a fault of the requests of some callers.
func ofCallers(from []v1alpha1.Caller, f *faultv3.HTTPFault) *compositev3.FilterChainConfiguration {
	f.Headers = append(f.Headers, wire.Header(callerHeader, room.AnyOf(from)))
	return &compositev3.FilterChainConfiguration{TypedConfig: []*corev3.TypedExtensionConfig{
		mutation(&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: callerHeader, Value: room.Caller},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}}),
		wire.Extension(faultName, f),
		mutation(&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: callerHeader}}),
	}}
}

func mutation(m *mutationv3.HeaderMutation) *corev3.TypedExtensionConfig {
	return wire.Extension("envoy.filters.http.header_mutation", &mutationfilterv3.HeaderMutation{
		Mutations: &mutationfilterv3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{m}},
	})
}
