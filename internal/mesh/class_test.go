package mesh

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/internal/cluster"
)

// What needs fields that the CRDs do not have is not claimed.
func TestSupportedFeatures(t *testing.T) {
	m := New(cluster.NewTables())
	claimed := func(channel string) (names []gwv1.FeatureName) {
		m.Graph.Commit(func() {
			m.GatewayClasses.Set("weft", &gwv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "weft"}, Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName}})
			m.Bundles.Set(gwv1.GroupName, cluster.Bundle{Version: "v1.6.3", Channel: channel})
		})
		for _, f := range m.ClassStatus(nil, "weft").SupportedFeatures {
			names = append(names, f.Name)
		}
		if !slices.IsSorted(names) || len(names) != len(slices.Compact(slices.Clone(names))) || !slices.Contains(names, gwv1.FeatureName(features.SupportHTTPRoute)) {
			t.Errorf("%q: %v", channel, names)
		}
		return names
	}
	for channel, want := range map[string]bool{"": false, "standard": false, "experimental": true} {
		if got := slices.Contains(claimed(channel), gwv1.FeatureName(features.SupportHTTPRouteRetry)); got != want {
			t.Errorf("%q: HTTPRouteRetry claimed: %t", channel, got)
		}
	}
	for _, f := range claimed("experimental") {
		if !slices.ContainsFunc(features.AllFeatures.UnsortedList(), func(known features.Feature) bool { return string(known.Name) == string(f) }) {
			t.Errorf("feature %s is not known to the suite", f)
		}
	}
}
