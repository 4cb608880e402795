package core

import (
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// heard is what proxies had answered when they were last asked.
type heard struct {
	facts   map[uint64]xds.Fact // by stream
	proxies map[string][]seer
	behind  bool // something was answered since, when there was no policy
}

// hear takes what is known of all proxies. Policies that ask something of one of which something else is known
// now are to be counted anew.
func (p *policies) hear(all []xds.Fact) {
	facts, moved := make(map[uint64]xds.Fact, len(all)), map[string]struct{}{}
	move := func(f xds.Fact) {
		if _, moves := moved[f.Scope]; moves {
			return
		}
		for _, scope := range mesh.SeenIn(f.Scope) {
			moved[scope] = struct{}{}
		}
	}
	for _, f := range all {
		facts[f.Stream] = f
		if was, is := p.facts[f.Stream]; !is || !was.Same(f) {
			move(f)
		}
	}
	for stream, f := range p.facts {
		if _, is := facts[stream]; !is {
			move(f)
		}
	}
	p.heard = heard{facts: facts, proxies: bySight(all)}
	for k, r := range p.reach {
		if r.asks(moved) {
			p.stale[k] = struct{}{}
		}
	}
}

// asks says whether something is to be acknowledged in one of some scopes.
func (r *reach) asks(scopes map[string]struct{}) bool {
	return meet(scopes, r.wants) || meet(scopes, r.shaped) || meet(scopes, r.arranged)
}

// meet says whether two maps have a key in common.
func meet[A, B any](a map[string]A, b map[string]B) bool {
	if len(a) > len(b) {
		return meet(b, a)
	}
	for k := range a {
		if _, both := b[k]; both {
			return true
		}
	}
	return false
}

// seer is a proxy with the scopes that it sees the names of, from the inside out.
type seer struct {
	xds.Fact
	seen []string
}

// bySight are proxies by the scopes that they see. Those that have acknowledged nothing have nothing yet, and
// serve nothing.
func bySight(all []xds.Fact) map[string][]seer {
	out, seen := map[string][]seer{}, map[string][]string{}
	for _, p := range all {
		if p.Acknowledged == 0 {
			continue
		}
		if seen[p.Scope] == nil {
			seen[p.Scope] = mesh.SeenIn(p.Scope)
		}
		for _, scope := range seen[p.Scope] {
			out[scope] = append(out[scope], seer{p, seen[p.Scope]})
		}
	}
	return out
}
