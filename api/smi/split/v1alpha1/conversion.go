package v1alpha1

import (
	"fmt"
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
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
	if err != nil {
		return err
	}
	var written []resource.Quantity
	for _, b := range t.Spec.Backends {
		written = append(written, b.Weight)
	}
	weights := whole(written)
	if meta, err = kept.HideWeights(meta, unlike(weights, written)); err != nil {
		return err
	}
	to.ObjectMeta, to.Status = meta, t.Status
	to.Spec = v1alpha4.TrafficSplitSpec{Service: t.Spec.Service, Matches: matches}
	for i, b := range t.Spec.Backends {
		to.Spec.Backends = append(to.Spec.Backends, v1alpha4.TrafficSplitBackend{Service: b.Service, Weight: weights[i]})
	}
	return nil
}

// ConvertFrom makes t say what hub, a TrafficSplit of v1alpha4, says.
func (t *TrafficSplit) ConvertFrom(hub conversion.Hub) error {
	from, ok := hub.(*v1alpha4.TrafficSplit)
	if !ok {
		return fmt.Errorf("convert a TrafficSplit from %T", hub)
	}
	meta, texts := kept.FindWeights(from.ObjectMeta)
	meta, err := kept.HideMatches(meta, from.Spec.Matches)
	t.ObjectMeta, t.Status = meta, from.Status
	t.Spec = TrafficSplitSpec{Service: from.Spec.Service}
	weights := original(from.Spec.Backends, texts)
	for i, b := range from.Spec.Backends {
		t.Spec.Backends = append(t.Spec.Backends, TrafficSplitBackend{Service: b.Service, Weight: weights[i]})
	}
	return err
}

// maxWeight is what the schema of v1alpha4 allows.
const maxWeight = 1_000_000

// whole are quantities as whole numbers in the same proportions. Where one has a fraction, all are counted
// in a smaller unit; where one would be too large, all are counted in a larger one, of which what was more
// than nothing is at least one.
func whole(quantities []resource.Quantity) []int {
	var values []float64
	most := 0.0
	for _, q := range quantities {
		values = append(values, max(0, q.AsApproximateFloat64()))
		most = max(most, values[len(values)-1])
	}
	unit := 1.0
	for _, scale := range []resource.Scale{resource.Milli, resource.Micro, resource.Nano} {
		if slices.ContainsFunc(quantities, func(q resource.Quantity) bool { return !wholeAt(q, scale+3) }) {
			unit = math.Pow10(-int(scale))
		}
	}
	if most*unit > maxWeight {
		unit = maxWeight / most
	}
	out := make([]int, len(values))
	for i, v := range values {
		if out[i] = int(math.Round(v * unit)); out[i] == 0 && v > 0 {
			out[i] = 1
		}
	}
	return out
}

// wholeAt says whether a quantity is a whole number of a unit.
func wholeAt(q resource.Quantity, unit resource.Scale) bool {
	rounded := q.DeepCopy()
	return rounded.RoundUp(unit)
}

// plain is a whole number as a weight.
func plain(weight int) resource.Quantity {
	return *resource.NewQuantity(int64(weight), resource.DecimalSI)
}

// unlike are quantities in text, if weights do not say the same.
func unlike(weights []int, quantities []resource.Quantity) (texts []string) {
	differ := false
	for i, q := range quantities {
		was := plain(weights[i])
		differ = differ || was.String() != q.String()
		texts = append(texts, q.String())
	}
	if !differ {
		return nil
	}
	return texts
}

// original are the weights of backends as they were written once in texts, unless they were changed since.
func original(backends []v1alpha4.TrafficSplitBackend, texts []string) []resource.Quantity {
	var written, plains []resource.Quantity
	for _, b := range backends {
		plains = append(plains, plain(b.Weight))
	}
	for _, text := range texts {
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return plains
		}
		written = append(written, q)
	}
	same := slices.EqualFunc(backends, whole(written), func(b v1alpha4.TrafficSplitBackend, weight int) bool { return b.Weight == weight })
	if !same {
		return plains
	}
	return written
}
