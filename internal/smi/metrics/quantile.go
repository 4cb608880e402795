package metrics

import (
	"maps"
	"math"
	"slices"
)

// quantile is where a share q of what buckets count lies, by the rules of Prometheus's
// histogram_quantile: spread evenly within a bucket, and what is above the last bound at that bound.
// Buckets hold how many are at most the bound. It is not known where nothing was counted.
func quantile(q float64, buckets map[float64]float64) (float64, bool) {
	bounds := slices.Sorted(maps.Keys(buckets))
	if len(bounds) < 2 || !math.IsInf(bounds[len(bounds)-1], 1) {
		return 0, false
	}
	total := buckets[bounds[len(bounds)-1]]
	if total <= 0 || math.IsNaN(total) {
		return 0, false
	}
	rank, below, count := q*total, 0.0, 0.0
	for _, bound := range bounds[:len(bounds)-1] {
		// Series that are not scraped at one moment may make a sum fall by a little.
		here := max(count, buckets[bound])
		if here >= rank {
			return below + (bound-below)*(rank-count)/(here-count), true
		}
		below, count = bound, here
	}
	return below, true
}
