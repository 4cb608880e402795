package metrics

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Groups is what /apis says.
func Groups() *metav1.APIGroupList {
	return &metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"},
		Groups:   []metav1.APIGroup{*Description()},
	}
}

// Description is what /apis/metrics.smi-spec.io says.
func Description() *metav1.APIGroup {
	g := &metav1.APIGroup{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroup"}, Name: Group}
	for _, v := range Versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: Group + "/" + v, Version: v})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}

// Resources is what /apis/metrics.smi-spec.io/<version> says.
func Resources(version string) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
		GroupVersion: Group + "/" + version,
	}
	for _, k := range kindsOf(version) {
		list.APIResources = append(list.APIResources,
			metav1.APIResource{Name: k.Name, Namespaced: k.Namespaced, Kind: "TrafficMetrics", Verbs: metav1.Verbs{"get", "list"}})
		if k.hasEdges() {
			list.APIResources = append(list.APIResources,
				metav1.APIResource{Name: k.Name + "/edges", Namespaced: k.Namespaced, Kind: "TrafficMetricsList", Verbs: metav1.Verbs{"get"}})
		}
	}
	return list
}
