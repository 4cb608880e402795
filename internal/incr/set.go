package incr

import "cmp"

// Set holds keys as long as somebody wants them: a source that is filled by hand, from what a
// Keep reports.
type Set[K cmp.Ordered] struct {
	g        *Graph
	wanted   map[K]int
	watchers []func(k K, live bool)
}

// NewSet makes an empty Set.
func NewSet[K cmp.Ordered](g *Graph) *Set[K] { return &Set[K]{g: g, wanted: map[K]int{}} }

// Add wants k once more.
func (s *Set[K]) Add(k K) {
	s.wanted[k]++
	if s.wanted[k] == 1 {
		s.tell(k, true)
	}
}

// Remove takes back one Add.
func (s *Set[K]) Remove(k K) {
	s.wanted[k]--
	if s.wanted[k] == 0 {
		delete(s.wanted, k)
		s.tell(k, false)
	}
}

func (s *Set[K]) tell(k K, live bool) {
	for _, f := range s.watchers {
		f(k, live)
	}
}

func (s *Set[K]) graph() *Graph { return s.g }

func (s *Set[K]) watch(f func(k K, live bool)) {
	for k := range s.wanted {
		f(k, true)
	}
	s.watchers = append(s.watchers, f)
}
