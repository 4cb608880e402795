// Package v1alpha3 holds the TrafficTarget of SMI, access.smi-spec.io/v1alpha3.
//
// +kubebuilder:object:generate=true
// +groupName=access.smi-spec.io
package v1alpha3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "access.smi-spec.io", Version: "v1alpha3"}

// AddToScheme registers this package's kinds. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &TrafficTarget{}, &TrafficTargetList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
