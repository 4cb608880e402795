package v1alpha1_test

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/conversion"

	"github.com/weft-mesh/weft/api/smi/split/kept"
	"github.com/weft-mesh/weft/api/smi/split/v1alpha1"
	"github.com/weft-mesh/weft/api/smi/split/v1alpha2"
	"github.com/weft-mesh/weft/api/smi/split/v1alpha3"
	"github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// spokes are an object of each version but the stored one.
func spokes() []conversion.Convertible {
	return []conversion.Convertible{&v1alpha1.TrafficSplit{}, &v1alpha2.TrafficSplit{}, &v1alpha3.TrafficSplit{}}
}

func TestWeightsOfV1alpha1(t *testing.T) {
	for _, test := range []struct {
		written []string
		whole   []int
	}{
		{[]string{"70", "30"}, []int{70, 30}},
		{[]string{"900m", "100m"}, []int{900, 100}},
		{[]string{"1", "500m"}, []int{1000, 500}},
		{[]string{"0", "100u"}, []int{0, 100}},
		{[]string{"-1", "1"}, []int{0, 1}},
		{[]string{"3Gi", "1Gi"}, []int{1000000, 333333}},
		{[]string{"1P", "1m"}, []int{1000000, 1}},
		{[]string{"1k", "1e3"}, []int{1000, 1000}},
	} {
		in, hub, back := &v1alpha1.TrafficSplit{}, &v1alpha4.TrafficSplit{}, &v1alpha1.TrafficSplit{}
		for _, w := range test.written {
			in.Spec.Backends = append(in.Spec.Backends, v1alpha1.TrafficSplitBackend{Service: "a", Weight: resource.MustParse(w)})
		}
		convert(t, in.ConvertTo, hub)
		var whole []int
		for _, b := range hub.Spec.Backends {
			whole = append(whole, b.Weight)
		}
		if !slices.Equal(whole, test.whole) {
			t.Errorf("%v are %v, want %v", test.written, whole, test.whole)
		}
		convert(t, back.ConvertFrom, hub)
		if !same(in, back) {
			t.Errorf("%v came back as %v", in.Spec, back.Spec)
		}
	}
}

// TestAWeightThatWasChangedSince: what v1alpha1 wrote does not outlive a later word.
func TestAWeightThatWasChangedSince(t *testing.T) {
	in, hub, back := &v1alpha1.TrafficSplit{}, &v1alpha4.TrafficSplit{}, &v1alpha1.TrafficSplit{}
	in.Spec.Backends = []v1alpha1.TrafficSplitBackend{{Service: "a", Weight: resource.MustParse("900m")}, {Service: "b", Weight: resource.MustParse("100m")}}
	convert(t, in.ConvertTo, hub)
	hub.Spec.Backends[0].Weight = 800
	convert(t, back.ConvertFrom, hub)
	for i, want := range []string{"800", "100"} {
		if got := back.Spec.Backends[i].Weight.String(); got != want {
			t.Errorf("backend %d has weight %s, want %s", i, got, want)
		}
	}
}

// TestAnAnnotationThatIsNotOurs: a write is refused, a read is not.
func TestAnAnnotationThatIsNotOurs(t *testing.T) {
	meta := metav1.ObjectMeta{Annotations: map[string]string{kept.MatchesAnnotation: "{", kept.WeightsAnnotation: "["}}
	if err := (&v1alpha2.TrafficSplit{ObjectMeta: meta}).ConvertTo(&v1alpha4.TrafficSplit{}); err == nil {
		t.Error("matches that are none were taken")
	}
	hub := &v1alpha4.TrafficSplit{ObjectMeta: meta}
	hub.Spec.Backends = []v1alpha4.TrafficSplitBackend{{Service: "a", Weight: 1}}
	for _, spoke := range spokes() {
		convert(t, spoke.ConvertFrom, hub)
	}
}

// FuzzRoundTrip: what is written in one version and read and written in any other comes back as it was.
func FuzzRoundTrip(f *testing.F) {
	for seed := range int64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		h := rand.New(rand.NewSource(seed))
		hub := randomSplit(h)
		before, err := json.Marshal(hub)
		if err != nil {
			t.Fatal(err)
		}
		for _, spoke := range spokes() {
			back := &v1alpha4.TrafficSplit{}
			convert(t, spoke.ConvertFrom, hub)
			spoke = throughJSON(t, spoke)
			convert(t, spoke.ConvertTo, back)
			if !same(hub, back) {
				t.Errorf("%T:\n%+v\n%+v", spoke, hub, back)
			}
		}
		if after, _ := json.Marshal(hub); string(after) != string(before) {
			t.Errorf("converting changed its source:\n%s\n%s", before, after)
		}
		old := &v1alpha1.TrafficSplit{ObjectMeta: hub.ObjectMeta}
		for range 1 + h.Intn(4) {
			old.Spec.Backends = append(old.Spec.Backends, v1alpha1.TrafficSplitBackend{Service: "a", Weight: randomQuantity(h)})
		}
		stored, back := &v1alpha4.TrafficSplit{}, &v1alpha1.TrafficSplit{}
		convert(t, old.ConvertTo, stored)
		for _, b := range stored.Spec.Backends {
			if b.Weight < 0 || b.Weight > 1_000_000 {
				t.Errorf("%v became %v, which the stored version refuses", old.Spec, stored.Spec)
			}
		}
		for _, by := range []conversion.Convertible{&v1alpha2.TrafficSplit{}, &v1alpha3.TrafficSplit{}} { // edited by others on its way
			convert(t, by.ConvertFrom, stored)
			convert(t, by.ConvertTo, stored)
		}
		convert(t, back.ConvertFrom, stored)
		if !same(old, back) {
			t.Errorf("v1alpha1:\n%+v\n%+v", old.Spec, back.Spec)
		}
	})
}

func convert(t *testing.T, by func(conversion.Hub) error, hub *v1alpha4.TrafficSplit) {
	t.Helper()
	if err := by(hub); err != nil {
		t.Fatal(err)
	}
}

// throughJSON is an object as an API server's client reads it.
func throughJSON(t *testing.T, o conversion.Convertible) conversion.Convertible {
	t.Helper()
	text, err := json.Marshal(o)
	out := reflect.New(reflect.TypeOf(o).Elem()).Interface().(conversion.Convertible)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

func randomSplit(h *rand.Rand) *v1alpha4.TrafficSplit {
	word := func() string { return []string{"a", "b", "web", "web-v2", "ä\"\\"}[h.Intn(5)] }
	s := &v1alpha4.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Name: word(), Namespace: word(), Generation: h.Int63()}}
	if h.Intn(2) == 0 {
		s.Annotations, s.Labels = map[string]string{word(): word()}, map[string]string{word(): word()}
	}
	s.Spec.Service = word()
	for range h.Intn(4) {
		s.Spec.Backends = append(s.Spec.Backends, v1alpha4.TrafficSplitBackend{Service: word(), Weight: h.Intn(1_000_001)})
	}
	for range h.Intn(3) {
		s.Spec.Matches = append(s.Spec.Matches, v1alpha4.TrafficSplitMatch{Kind: "HTTPRouteGroup", Name: word()})
	}
	s.Status.ObservedGeneration = h.Int63()
	s.Status.Conditions = []metav1.Condition{{Type: v1alpha4.ConditionReady, Status: metav1.ConditionTrue, Reason: word(), Message: word()}}
	s.Status.Ports = []v1alpha4.TrafficSplitPortStatus{{Port: h.Int31n(65536)}}
	return s
}

func randomQuantity(h *rand.Rand) resource.Quantity {
	format := []resource.Format{resource.DecimalSI, resource.BinarySI, resource.DecimalExponent}[h.Intn(3)]
	switch h.Intn(3) {
	case 0:
		return *resource.NewQuantity(h.Int63n(1<<uint(1+h.Intn(62))), format)
	case 1:
		return *resource.NewMilliQuantity(h.Int63n(100_000), resource.DecimalSI)
	}
	return *resource.NewScaledQuantity(h.Int63n(1_000_000), resource.Scale(-9+h.Intn(19)))
}
