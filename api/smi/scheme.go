// Package smi registers the kinds of the Service Mesh Interface (SMI), v0.6.0 and what older tools write of
// it. Their types are in the packages below, one for each version of an API group.
package smi

import (
	"errors"

	"k8s.io/apimachinery/pkg/runtime"

	accessv1alpha3 "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specsv1alpha4 "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	splitv1alpha1 "github.com/weft-mesh/weft/api/smi/split/v1alpha1"
	splitv1alpha2 "github.com/weft-mesh/weft/api/smi/split/v1alpha2"
	splitv1alpha3 "github.com/weft-mesh/weft/api/smi/split/v1alpha3"
	splitv1alpha4 "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// AddToScheme registers every kind of SMI in every version that Weft serves. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	return errors.Join(
		splitv1alpha4.AddToScheme(s), splitv1alpha3.AddToScheme(s), splitv1alpha2.AddToScheme(s), splitv1alpha1.AddToScheme(s),
		accessv1alpha3.AddToScheme(s), specsv1alpha4.AddToScheme(s),
	)
}
