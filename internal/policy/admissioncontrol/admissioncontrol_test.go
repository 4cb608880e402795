package admissioncontrol

import (
	"maps"
	"slices"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	admissionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/admission_control/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

func TestWhatIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: `success_criteria: {} sampling_window: {seconds: 30}
			sr_threshold: {default_value: {value: 95} runtime_key: "weft.admission_control.success_rate"}
			rps_threshold: {default_value: 1 runtime_key: "weft.admission_control.requests_per_second"}
			max_rejection_probability: {default_value: {value: 80} runtime_key: "weft.admission_control.max_rejection"}`,
		`{samplingWindow: 1m, successRateThreshold: 90, aggression: "1.5", requestsPerSecondThreshold: 0, maxRejectionPercent: 60,
			successCriteria: {httpStatuses: [{start: 200, end: 299}, {start: 404}], grpcStatuses: [0, 5]}}`: `
			success_criteria: {http_criteria: {http_success_status: {start: 200 end: 300} http_success_status: {start: 404 end: 405}} grpc_criteria: {grpc_success_status: [0, 5]}}
			sampling_window: {seconds: 60}
			aggression: {default_value: 1.5 runtime_key: "weft.admission_control.aggression"}
			sr_threshold: {default_value: {value: 90} runtime_key: "weft.admission_control.success_rate"}
			rps_threshold: {default_value: 0 runtime_key: "weft.admission_control.requests_per_second"}
			max_rejection_probability: {default_value: {value: 60} runtime_key: "weft.admission_control.max_rejection"}`,
	} {
		expected := &admissionv3.AdmissionControl{}
		if err := prototext.Unmarshal([]byte(want), expected); err != nil {
			t.Fatal(err)
		}
		if got := control(roomtest.Written[v1alpha1.AdmissionControl](t, text)); !proto.Equal(got, expected) {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestWhatNoServerTakes: no number past its bounds makes what Envoy would refuse.
func TestWhatNoServerTakes(t *testing.T) {
	for _, text := range []string{
		`{successRateThreshold: 0, maxRejectionPercent: 300, requestsPerSecondThreshold: -5, aggression: "0.2"}`,
		`{successRateThreshold: -1, maxRejectionPercent: -1, aggression: "x", samplingWindow: "x"}`,
		`{successCriteria: {httpStatuses: [{start: 1, end: 5}, {start: 900}, {start: 300, end: 200}], grpcStatuses: [-1]}}`,
	} {
		c := control(roomtest.Written[v1alpha1.AdmissionControl](t, text))
		if err := c.ValidateAll(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if c.SrThreshold.DefaultValue.Value < 1 || c.Aggression != nil {
			t.Errorf("%s: %v", text, c)
		}
		for _, r := range c.GetSuccessCriteria().HttpCriteria.GetHttpSuccessStatus() {
			if r.Start < 100 || r.End <= r.Start || r.End > 600 {
				t.Errorf("%s: %v", text, r)
			}
		}
	}
}

// TestWindows: each rule has its own, by which its Routes enter it and no other.
func TestWindows(t *testing.T) {
	little, none := roomtest.Written[v1alpha1.AdmissionControl](t, `{}`), roomtest.Written[v1alpha1.AdmissionControl](t, `{disabled: true}`)
	all := []room.Written[v1alpha1.AdmissionControl]{
		{Policy: "a/x", Rule: "httproute/a/r/0", Says: little}, {Policy: "a/x", Rule: "httproute/a/r/1", Says: little},
		{Policy: "a/y", Rule: "httproute/a/r/1", Says: little}, {Policy: "a/z", Rule: "httproute/a/r/2", Says: none},
	}
	chains := windows(all, room.Port{}).(*compositev3.Composite).NamedFilterChains
	if got := slices.Sorted(maps.Keys(chains)); !slices.Equal(got, []string{"a/x httproute/a/r/0", "a/x httproute/a/r/1", "a/y httproute/a/r/1"}) {
		t.Errorf("windows %v", got)
	}
	for i, w := range all {
		r := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
		admit(w, "shared", r)
		if i == 3 {
			if len(r.TypedPerFilterConfig) > 0 {
				t.Errorf("where it is disabled: %v", r)
			}
			continue
		}
		route, action := &compositev3.CompositePerRoute{}, &compositev3.ExecuteFilterAction{}
		roomtest.Unpack(t, r.TypedPerFilterConfig["shared"], route)
		roomtest.Unpack(t, route.Matcher.OnNoMatch.GetAction().TypedConfig, action)
		if action.FilterChainName != w.Policy+" "+w.Rule {
			t.Errorf("%v enters %q", w, action.FilterChainName)
		}
	}
	redirect := &routev3.Route{Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{}}}
	if admit(all[0], "shared", redirect); len(redirect.TypedPerFilterConfig) > 0 {
		t.Errorf("a redirect: %v", redirect)
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                      "",
		`{samplingWindow: 1s}`:    "",
		`{samplingWindow: 999ms}`: ".samplingWindow is less than Envoy counts",
		`{samplingWindow: 0s}`:    ".samplingWindow is less than Envoy counts",
	} {
		got := problem(roomtest.Written[v1alpha1.AdmissionControl](t, text), room.Gateway, false)
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}
