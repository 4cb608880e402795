// Package admissioncontrol is the section admissionControl: requests that are turned away to what has failed much
// of late.
package admissioncontrol

import (
	"strconv"
	"time"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	admissionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/admission_control/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests. Its filter is shared: a window in a Route's own configuration would be one for
// each of the Routes that a rule becomes, and empty again whenever any route of its port changes. It tells rules
// apart: what fails has nothing else turned away.
var Section = room.Section[v1alpha1.AdmissionControl]{
	Name:    "admissionControl",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.AdmissionControl { return spec.AdmissionControl },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.AdmissionControl],
	Traffic: room.Traffic[v1alpha1.AdmissionControl]{Shared: windows, Entering: admit, Problem: problem},
}

// Details is what access logs say of a request that is turned away.
const Details = "denied_by_admission_control"

const (
	filter = "envoy.filters.http.admission_control"

	defaultWindow    = 30 * time.Second
	defaultSuccess   = 95 // percent
	defaultRate      = 1  // requests per second
	defaultRejection = 80 // percent
)

func problem(s *v1alpha1.AdmissionControl, _ room.Kind, _ bool) string {
	if window := room.Length(s.SamplingWindow); s.SamplingWindow != nil && window < time.Second {
		return ".samplingWindow is less than Envoy counts: set 1s or more"
	}
	return ""
}

// windows has a chain for each rule, by which a Route then enters it.
func windows(said []room.Written[v1alpha1.AdmissionControl], _ room.Port) proto.Message {
	out := &compositev3.Composite{}
	for _, s := range said {
		if s.Says.Disabled {
			continue
		}
		if out.NamedFilterChains == nil {
			out.NamedFilterChains = map[string]*compositev3.FilterChainConfiguration{}
		}
		out.NamedFilterChains[window(s)] = &compositev3.FilterChainConfiguration{
			TypedConfig: []*corev3.TypedExtensionConfig{wire.Extension(filter, control(s.Says))},
		}
	}
	return out
}

// window is the name of a chain. At one port several policies may be about a rule, each where it is reached by
// another listener.
func window(w room.Written[v1alpha1.AdmissionControl]) string { return w.Policy + " " + w.Rule }

// admit has the requests of a Route counted, and some of them turned away, if it sends them on.
func admit(w room.Written[v1alpha1.AdmissionControl], shared string, r *routev3.Route) {
	if w.Says.Disabled || r.GetRoute() == nil {
		return
	}
	room.Fill(r, shared, &xdsmatcherv3.Matcher{OnNoMatch: room.Run("admit", &compositev3.ExecuteFilterAction{FilterChainName: window(w)})})
}

// control has runtime keys that are not set: Envoy wants its fields to have some.
func control(s *v1alpha1.AdmissionControl) *admissionv3.AdmissionControl {
	return &admissionv3.AdmissionControl{
		EvaluationCriteria:      criteria(s.SuccessCriteria),
		SamplingWindow:          room.Duration(s.SamplingWindow, defaultWindow),
		Aggression:              aggression(s.Aggression),
		SrThreshold:             percent(s.SuccessRateThreshold, defaultSuccess, "success_rate"),
		RpsThreshold:            &corev3.RuntimeUInt32{DefaultValue: room.Number(s.RequestsPerSecondThreshold, defaultRate).Value, RuntimeKey: key("requests_per_second")},
		MaxRejectionProbability: percent(s.MaxRejectionPercent, defaultRejection, "max_rejection"),
	}
}

func key(field string) string { return "weft.admission_control." + field }

// percent is at least 1, of which Envoy wants a threshold to be.
func percent(says *int32, unset uint32, field string) *corev3.RuntimePercent {
	return &corev3.RuntimePercent{
		DefaultValue: &typev3.Percent{Value: float64(max(room.Hundredths(says, unset).Value, 1))},
		RuntimeKey:   key(field),
	}
}

func aggression(says *string) *corev3.RuntimeDouble {
	if says == nil {
		return nil
	}
	value, err := strconv.ParseFloat(*says, 64)
	if err != nil || value < 1 { // which the API server refuses
		return nil
	}
	return &corev3.RuntimeDouble{DefaultValue: value, RuntimeKey: key("aggression")}
}

// criteria leaves to Envoy what is not said.
func criteria(s *v1alpha1.SuccessCriteria) *admissionv3.AdmissionControl_SuccessCriteria_ {
	out := &admissionv3.AdmissionControl_SuccessCriteria{}
	if s != nil && len(s.HTTPStatuses) > 0 {
		out.HttpCriteria = &admissionv3.AdmissionControl_SuccessCriteria_HttpCriteria{}
		for _, r := range s.HTTPStatuses {
			start, end := room.Statuses(r)
			out.HttpCriteria.HttpSuccessStatus = append(out.HttpCriteria.HttpSuccessStatus, &typev3.Int32Range{Start: start, End: end})
		}
	}
	if s != nil && len(s.GRPCStatuses) > 0 {
		out.GrpcCriteria = &admissionv3.AdmissionControl_SuccessCriteria_GrpcCriteria{}
		for _, status := range s.GRPCStatuses {
			out.GrpcCriteria.GrpcSuccessStatus = append(out.GrpcCriteria.GrpcSuccessStatus, uint32(max(status, 0)))
		}
	}
	return &admissionv3.AdmissionControl_SuccessCriteria_{SuccessCriteria: out}
}
