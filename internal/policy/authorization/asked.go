package authorization

import (
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Where OPA is asked, the guards themselves say what: it is in the metadata of the request, and so of one piece with what
// has let the request on. The filter that asks is behind all guards, the same for all, and never changes:
//
//	guards ─→ sure ─────────────────────────────────────→ further
//	   └────→ not sure, with a Question ─→ weft authz ──→ further, or 403

// The place of a Question in the metadata of a request.
const (
	AskedNamespace = "weft.asked"
	QuestionField  = "question"
)

// askedWithin is how long OPA may take to answer, attempts together.
const askedWithin = time.Second

// gate are the filters that say about whom OPA is asked, and what.
func gate(g *opa.Gate) (out []*corev3.TypedExtensionConfig) {
	if g == nil {
		return nil
	}
	if g.Doubt != nil {
		out = append(out, room.Trying(opa.SaysDoubt, g.Doubt))
	}
	question := &structpb.Struct{Fields: map[string]*structpb.Value{QuestionField: structpb.NewStringValue(g.Question.Text())}}
	return append(out, room.Trying(opa.SaysSure, g.Sure), wire.Extension("envoy.filters.http.set_metadata", &metadatav3.Config{
		Metadata: []*metadatav3.Metadata{{MetadataNamespace: AskedNamespace, AllowOverwrite: true, Value: question}},
	}))
}

// Asking is the filter that asks through a cluster. Who gets no answer is refused, and no answer changes a request.
func Asking(cluster, authority string) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: AskedNamespace, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wire.Any(&extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services: &extauthzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster, Authority: authority, SkipEnvoyHeaders: true}},
			Timeout:         durationpb.New(askedWithin),
			RetryPolicy: &corev3.RetryPolicy{
				RetryOn: "connect-failure,refused-stream,reset,unavailable", NumRetries: wrapperspb.UInt32(3),
				RetryHostPredicate: []*corev3.RetryPolicy_RetryHostPredicate{{
					Name:       "envoy.retry_host_predicates.previous_hosts",
					ConfigType: &corev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: wire.Any(&previoushostsv3.PreviousHostsPredicate{})},
				}},
				HostSelectionRetryMaxAttempts: 5,
				RetryBackOff:                  &corev3.BackoffStrategy{BaseInterval: durationpb.New(10 * time.Millisecond), MaxInterval: durationpb.New(100 * time.Millisecond)},
			},
		}},
		FilterEnabledMetadata:      wire.Says(wire.Result(opa.SaysSure), "denied"),
		MetadataContextNamespaces:  []string{AskedNamespace, wire.RBAC, room.ClaimsNamespace},
		StatusOnError:              &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden},
		ValidateMutations:          true,
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{DisallowAll: wrapperspb.Bool(true)},
		ChargeClusterResponseStats: wrapperspb.Bool(false),
	})}}
}
