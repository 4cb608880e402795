// Package kept holds what a version of a TrafficSplit cannot say, in annotations of the object, so that
// whoever reads and writes that version loses nothing of what others wrote.
package kept

import (
	"encoding/json"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// The annotations.
const (
	// MatchesAnnotation, in v1alpha1 and v1alpha2, is spec.matches of the later versions, as JSON.
	MatchesAnnotation = "mesh.weft.dev/smi-matches"
	// WeightsAnnotation, in the versions after v1alpha1, are v1alpha1's weights as they were written, where
	// whole numbers do not tell all of them.
	WeightsAnnotation = "mesh.weft.dev/smi-weights"
)

// maxMatches is what the schema of v1alpha4 allows.
const maxMatches = 16

// HideMatches is meta with matches in the annotation, or without it.
func HideMatches(meta metav1.ObjectMeta, matches []v1alpha4.TrafficSplitMatch) (metav1.ObjectMeta, error) {
	if len(matches) == 0 {
		return with(meta, MatchesAnnotation, ""), nil
	}
	text, err := json.Marshal(matches)
	return with(meta, MatchesAnnotation, string(text)), err
}

// FindMatches takes the matches out of meta. It fails if the annotation holds anything else: what reads it
// is a write of the object, which is refused then.
func FindMatches(meta metav1.ObjectMeta) (metav1.ObjectMeta, []v1alpha4.TrafficSplitMatch, error) {
	text, has := meta.Annotations[MatchesAnnotation]
	if !has {
		return meta, nil, nil
	}
	var matches []v1alpha4.TrafficSplitMatch
	if err := json.Unmarshal([]byte(text), &matches); err != nil || len(matches) > maxMatches {
		return meta, nil, fmt.Errorf("metadata.annotations[%s] is not a list of at most %d spec.matches: remove it, or write the object as v1alpha4", MatchesAnnotation, maxMatches)
	}
	return with(meta, MatchesAnnotation, ""), matches, nil
}

// HideWeights is meta with weights in the annotation, or without it.
func HideWeights(meta metav1.ObjectMeta, weights []string) (metav1.ObjectMeta, error) {
	if weights == nil {
		return with(meta, WeightsAnnotation, ""), nil
	}
	text, err := json.Marshal(weights)
	return with(meta, WeightsAnnotation, string(text)), err
}

// FindWeights takes the weights out of meta; none if the annotation holds anything else.
func FindWeights(meta metav1.ObjectMeta) (metav1.ObjectMeta, []string) {
	var weights []string
	if json.Unmarshal([]byte(meta.Annotations[WeightsAnnotation]), &weights) != nil {
		weights = nil
	}
	return with(meta, WeightsAnnotation, ""), weights
}

// with is meta with an annotation set or, to "", removed. What meta was made from stays as it is.
func with(meta metav1.ObjectMeta, name, value string) metav1.ObjectMeta {
	_, has := meta.Annotations[name]
	if value == "" && !has {
		return meta
	}
	meta.Annotations = maps.Clone(meta.Annotations)
	if value != "" {
		metav1.SetMetaDataAnnotation(&meta, name, value)
	} else if delete(meta.Annotations, name); len(meta.Annotations) == 0 {
		meta.Annotations = nil
	}
	return meta
}
