// Package v1alpha3 holds the TrafficSplit of SMI as clients of split.smi-spec.io/v1alpha3 know it.
//
// +kubebuilder:object:generate=true
// +groupName=split.smi-spec.io
package v1alpha3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "split.smi-spec.io", Version: "v1alpha3"}

// AddToScheme registers this package's kinds. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &TrafficSplit{}, &TrafficSplitList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
