package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// spread are the endpoints of all backends over which a rule's sessions reach: how much each gets, and where it is
// among the localities.
type spread struct {
	weights map[Endpoint]uint64
	places  map[Endpoint]Locality // without a policy that arranges them: none
	last    uint32                // the priority after those that get anything
}

// sessionEndpoints are those of all backends over which sessions reach. Each has its part of its backend's
// weight, and those of weight 0 take no more than the requests of the sessions that they have.
func (m *Mesh) sessionEndpoints(q *incr.Query, name string, from room.Locality) Endpoints {
	out, all := Endpoints{Cluster: name}, uint64(0)
	s := spread{weights: map[Endpoint]uint64{}, places: map[Endpoint]Locality{}}
	backends, by := m.sessionBackends(q, name), m.arrangements.Get(q, name)
	for _, b := range backends {
		all += uint64(b.Weight)
	}
	for _, b := range backends {
		at := parseCluster(b.Cluster)
		if endpoints := m.addressesAt(q, at.service, at.port); len(by) > 0 {
			s.arranged(m.arranged(q, by[0], from, endpoints), uint64(b.Weight), all)
		} else {
			s.add(endpoints.usable(), uint64(b.Weight), all*uint64(len(endpoints.usable())))
		}
	}
	out.Policies = policyKeys(by)
	for e, weight := range s.weights {
		e.Weight, e.Idle = uint32(max(weight, 1)), weight == 0
		if at, arranged := s.places[e.plain()]; arranged {
			if e.Idle {
				at.Priority = s.last // among others they would count as missing there
			}
			out.Localities = addLocality(out.Localities, at, e.Weight, []Endpoint{e})
		}
		out.Addresses = append(out.Addresses, e)
	}
	slices.SortFunc(out.Addresses, byAddress)
	slices.SortFunc(out.Localities, byPlace)
	closeRanks(out.Localities)
	return out
}

// closeRanks leaves out priorities that none of some ordered localities has: Envoy wants them without a gap.
func closeRanks(all []Locality) {
	rank, before := uint32(0), uint32(0)
	for i := range all {
		if i > 0 && all[i].Priority != before {
			rank++
		}
		before, all[i].Priority = all[i].Priority, rank
	}
}

// sessionArrangement is what arranges the endpoints of all Services alike over which a rule's sessions reach.
func (m *Mesh) sessionArrangement(q *incr.Query, name string) (out []room.Decided) {
	for i, b := range m.sessionBackends(q, name) {
		own := m.arrangements.Get(q, parseCluster(b.Cluster).endpoints())
		if i == 0 {
			out = own
		} else {
			out = agreed(out, own)
		}
	}
	return out
}

// plain is an endpoint without what depends on who sends to it, and its Node, which one Service's slices may tell
// and another's not.
func (e Endpoint) plain() Endpoint {
	e.Node, e.Weight, e.Idle = "", 0, false
	return e
}

// add gives each of a backend's endpoints a part of its weight.
func (s *spread) add(endpoints []Endpoint, part, of uint64) {
	for _, e := range endpoints {
		s.weights[e.plain()] += 0
		if part > 0 {
			s.weights[e.plain()] += max(1, weightOfAll*part/of)
		}
	}
}

// arranged adds a backend's endpoints as they are arranged, so that what goes to each priority is shared out by the
// weights of the backends.
func (s *spread) arranged(localities []Locality, part, of uint64) {
	sums := map[uint32]uint64{}
	for _, l := range localities {
		sums[l.Priority] += uint64(l.Weight)
	}
	for _, l := range localities {
		s.add(l.Addresses, part*uint64(l.Weight), of*sums[l.Priority]*uint64(len(l.Addresses)))
		for _, e := range l.Addresses {
			at := l
			at.Weight, at.Addresses = 0, nil
			if was, known := s.places[e.plain()]; !known || at.Priority < was.Priority {
				s.places[e.plain()] = at
			}
		}
		if part > 0 {
			s.last = max(s.last, l.Priority+1)
		}
	}
}
