package xds

// Settled says of each connected proxy ("namespace/pod") whether it has applied what its scope sees
// under these names. A proxy that sees nothing under them has; one with two streams, of which the older
// may be about to end, has if both have.
func (f *Facts) Settled(s *Store, names ...Name) map[string]bool {
	out := map[string]bool{}
	for _, p := range f.All() {
		pod := p.Namespace + "/" + p.Pod
		settled, other := out[pod]
		settled = settled || !other
		for _, n := range names {
			settled = settled && p.applied(s, n)
		}
		out[pod] = settled
	}
	return out
}

func (f *Fact) applied(s *Store, n Name) bool {
	sight, seen := s.Sight(f.Scope, n)
	return !seen || f.Acknowledged >= sight.Revision && !f.refuses(n, sight.Version)
}
