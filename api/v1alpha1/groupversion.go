// Package v1alpha1 holds Weft's own kinds, mesh.weft.dev/v1alpha1. The comments on its fields
// are the manual: `kubectl explain mesh.spec` prints them.
//
// +kubebuilder:object:generate=true
// +groupName=mesh.weft.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "mesh.weft.dev", Version: "v1alpha1"}

// SystemNamespace is where Weft itself runs and keeps its certificates.
const SystemNamespace = "weft-system"

// AddToScheme registers this package's kinds. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Mesh{}, &MeshList{}, &MeshPolicy{}, &MeshPolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
