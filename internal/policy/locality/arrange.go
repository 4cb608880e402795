package locality

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

const (
	whole = 10_000 // the weights of a priority come to about as much
	// overprovisioning is Envoy's: endpoints keep all that is sent to them until less than 100/140 of them are
	// there, and with fewer as much as they can.
	overprovisioning = 140
)

// tier are groups that are as near, or count as if they were.
type tier struct {
	of         []int // of the groups, by their places
	ready, all int
	percent    int // of what is sent
}

// availability is the percentage of what may be sent to endpoints that they can take; 0 of none.
func availability(ready, all int) int {
	if ready == 0 {
		return 0
	}
	return min(100, max(1, overprovisioning*ready/max(all, 1)))
}

// arrange gives each group its Share, by weights between regions or by how near it is.
func arrange(s *v1alpha1.Locality, from room.Locality, groups []room.Group) []room.Share {
	region := from.Value(corev1.LabelTopologyRegion)
	for _, w := range s.Weights {
		if w.From == region {
			return byRegion(w.To, groups)
		}
	}
	return byDistance(prefer(s), least(s), from, groups)
}

func least(s *v1alpha1.Locality) int {
	if s.MinEndpoints == nil {
		return 1
	}
	return int(max(*s.MinEndpoints, 1))
}

// byDistance has the nearest tier get what its endpoints can take, the next one what is left, and so on. All that
// get something are of priority 0; the others are there for when these fail the proxy that sends.
func byDistance(labels []string, least int, from room.Locality, groups []room.Group) []room.Share {
	out, distances := make([]room.Share, len(groups)), make([]int, len(groups))
	for i, g := range groups {
		if distances[i] = distance(labels, from, g.At); distances[i] < len(labels) {
			out[i].Near = labels[distances[i]]
		}
	}
	tiers := tiersOf(distances, len(labels), least, groups)
	load(tiers)
	priority := uint32(0)
	for _, t := range tiers {
		percent := t.percent
		if percent == 0 {
			priority, percent = priority+1, 100
		}
		for _, i := range t.of {
			out[i].Priority, out[i].Weight = priority, part(percent*groups[i].Ready, t.ready)
		}
	}
	return out
}

// distance is the place among some labels of the first that two localities have the same value of; how many
// labels there are where none is.
func distance(labels []string, a, b room.Locality) int {
	i := slices.IndexFunc(labels, func(l string) bool {
		value := a.Value(l)
		return value != "" && value == b.Value(l)
	})
	if i < 0 {
		return len(labels)
	}
	return i
}

// tiersOf are the groups by their distance, the nearest first. A tier of too few endpoints joins the next: of what is
// missing there no more counts.
func tiersOf(distances []int, furthest, least int, groups []room.Group) (out []tier) {
	var near tier
	for d := range furthest + 1 {
		for i, g := range groups {
			if distances[i] == d {
				near.of, near.ready, near.all = append(near.of, i), near.ready+g.Ready, near.all+g.All
			}
		}
		if near.ready >= least {
			out, near = append(out, near), tier{}
		}
		near.all = near.ready
	}
	if near.ready == 0 {
		return out
	}
	return append(out, near)
}

// load shares out what is sent, as Envoy does among priorities.
func load(tiers []tier) {
	can := 0
	for _, t := range tiers {
		can += availability(t.ready, t.all)
	}
	left := 100
	for i := range tiers {
		t := &tiers[i]
		t.percent = min(left, availability(t.ready, t.all)*100/min(max(can, 1), 100))
		left -= t.percent
	}
	if len(tiers) > 0 {
		tiers[0].percent += left // what rounding leaves
	}
}

// byRegion gives each region its percentage, as far as its endpoints can take it; the others get what these
// leave, in the same ratio. Regions without one are of the next priority.
func byRegion(to []v1alpha1.RegionWeight, groups []room.Group) []room.Share {
	percents, regions := map[string]int{}, map[string]tier{}
	for _, w := range to {
		percents[w.Region] = int(min(max(w.Percent, 0), 100))
	}
	for _, g := range groups {
		t := regions[regionOf(g)]
		t.ready, t.all = t.ready+g.Ready, t.all+g.All
		regions[regionOf(g)] = t
	}
	can, others := 0, 0
	for region, t := range regions {
		if can += percents[region] * availability(t.ready, t.all); percents[region] == 0 {
			others += t.ready
		}
	}
	last := uint32(min(can, 1))
	out := make([]room.Share, len(groups))
	for i, g := range groups {
		t := regions[regionOf(g)]
		if percent := percents[regionOf(g)]; percent == 0 {
			out[i] = room.Share{Priority: last, Weight: part(100*g.Ready, others)}
		} else {
			out[i].Weight = part(percent*availability(t.ready, t.all)*100/max(can, 1)*g.Ready, t.ready)
		}
	}
	return out
}

func regionOf(g room.Group) string { return g.At.Value(corev1.LabelTopologyRegion) }

// part is a weight: of so many hundredths of all.
func part(hundredths, of int) uint32 {
	return uint32(max(1, whole/100*hundredths/max(of, 1)))
}
