package controllers

import (
	"slices"
	"sync"
)

// perPolicy are the names of what is kept in weft-system for each policy.
type perPolicy struct {
	mu sync.Mutex
	of map[string][]string
}

// differ notes what is kept for a policy, and says whether that is something else than before: then what was kept may be
// of no use any more. Nor is that known when the operator has just started.
func (p *perPolicy) differ(policy string, kept []string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.of == nil
	if first {
		p.of = map[string][]string{}
	}
	was, known := p.of[policy]
	if delete(p.of, policy); len(kept) > 0 {
		p.of[policy] = kept
	}
	return first || known && !slices.Equal(was, kept)
}
