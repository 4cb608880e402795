package v1alpha2

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/conversion"

	"github.com/weft-mesh/weft/api/smi/split/kept"
	"github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

var _ conversion.Convertible = &TrafficSplit{}

// ConvertTo makes hub, a TrafficSplit of v1alpha4, say the same.
func (t *TrafficSplit) ConvertTo(hub conversion.Hub) error {
	to, ok := hub.(*v1alpha4.TrafficSplit)
	if !ok {
		return fmt.Errorf("convert a TrafficSplit to %T", hub)
	}
	meta, matches, err := kept.FindMatches(t.ObjectMeta)
	to.ObjectMeta, to.Status = meta, t.Status
	to.Spec = v1alpha4.TrafficSplitSpec{Service: t.Spec.Service, Matches: matches}
	for _, b := range t.Spec.Backends {
		to.Spec.Backends = append(to.Spec.Backends, v1alpha4.TrafficSplitBackend(b))
	}
	return err
}

// ConvertFrom makes t say what hub, a TrafficSplit of v1alpha4, says.
func (t *TrafficSplit) ConvertFrom(hub conversion.Hub) error {
	from, ok := hub.(*v1alpha4.TrafficSplit)
	if !ok {
		return fmt.Errorf("convert a TrafficSplit from %T", hub)
	}
	meta, err := kept.HideMatches(from.ObjectMeta, from.Spec.Matches)
	t.ObjectMeta, t.Status = meta, from.Status
	t.Spec = TrafficSplitSpec{Service: from.Spec.Service}
	for _, b := range from.Spec.Backends {
		t.Spec.Backends = append(t.Spec.Backends, TrafficSplitBackend(b))
	}
	return err
}
