// Package v1alpha4 holds the kinds by which SMI describes traffic, specs.smi-spec.io/v1alpha4. By
// themselves they do nothing: a TrafficSplit or a TrafficTarget names them.
//
// +kubebuilder:object:generate=true
// +groupName=specs.smi-spec.io
package v1alpha4

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "specs.smi-spec.io", Version: "v1alpha4"}

// AddToScheme registers this package's kinds. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &HTTPRouteGroup{}, &HTTPRouteGroupList{}, &TCPRoute{}, &TCPRouteList{}, &UDPRoute{}, &UDPRouteList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
