// Package quota counts what all proxies together let through: buckets of tokens, in one place.
//
//	core → SetPolicy, SetPlace, See → Table ← Decide ← internal/quota/rls ← proxies
//
// It has no clock: a decision is told what time it is.
package quota

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is one limit of a policy.
type Limit struct {
	// ID is of no other limit of its policy. It says what is counted, not how much: a limit that keeps it
	// keeps its buckets.
	ID       string
	Requests int // that come back in the time Per
	Per      time.Duration
	Burst    int // the size of a bucket, full at the start
	By       []Property
	Told     bool // callers are told how much is left
}

// Property is something by which requests differ. Those with the same values share a bucket.
type Property struct {
	Value  string // the only one that is counted; "": each
	Caller bool   // it is who asks: what is said in a question does not count
}

// Asked is one limit that a request meets, by its policy's key and its ID, and what was found in the request
// of each of its properties.
type Asked struct {
	Policy, ID string
	Values     []string
}

// Who asks.
type Who struct {
	Scopes []string // whose places it sees
	Caller string   // who all that it sends is from; "": its clients'
}

// Answer is what becomes of a request.
type Answer struct {
	Refused bool
	Counted int // limits that had something to say
	Unknown int // limits that are not there, or not for who asks
	// Nearest is of the limit that refuses or, of a request that passes, the one that has least left. It is
	// not known if nothing was Counted.
	Nearest Level
}

// Level is how much is in a bucket.
type Level struct {
	Size, Left int
	Reset      time.Duration // until there is a token; 0: there is one
	Told       bool
}

// Table is the buckets of all limits, and who may ask about which. It is safe for concurrent use.
type Table struct {
	seed  maphash.Seed
	total atomic.Int64 // buckets

	mu       sync.RWMutex
	policies map[string][]*limit
	places   map[string]*place
}

// place is a port at which requests are counted.
type place struct {
	policies map[string]struct{}
	scopes   map[string]struct{}
}

// New returns a Table without limits.
func New() *Table {
	return &Table{seed: maphash.MakeSeed(), policies: map[string][]*limit{}, places: map[string]*place{}}
}

// SetPolicy says what the limits of a policy are; none: it has none any more. A limit that was there keeps
// what is in its buckets, as far as they hold it.
func (t *Table) SetPolicy(policy string, limits []Limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.policies[policy]
	delete(t.policies, policy)
	for _, l := range limits {
		kept := find(before, l.ID)
		if kept == nil {
			kept = t.newLimit(l)
		}
		kept.set(l)
		t.policies[policy] = append(t.policies[policy], kept)
	}
	for _, l := range before {
		if find(t.policies[policy], l.ID) == nil {
			t.total.Add(-int64(l.buckets()))
		}
	}
}

// SetPlace says which policies count at a place; none: it is none any more.
func (t *Table) SetPlace(name string, policies []string) {
	t.change(name, func(p *place) {
		clear(p.policies)
		for _, policy := range policies {
			p.policies[policy] = struct{}{}
		}
	})
}

// See says whether the proxies of a scope see a place, and so may ask there.
func (t *Table) See(name, scope string, seen bool) {
	t.change(name, func(p *place) {
		if delete(p.scopes, scope); seen {
			p.scopes[scope] = struct{}{}
		}
	})
}

func (t *Table) change(name string, how func(*place)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.places[name]
	if p == nil {
		p = &place{map[string]struct{}{}, map[string]struct{}{}}
		t.places[name] = p
	}
	if how(p); len(p.policies)+len(p.scopes) == 0 {
		delete(t.places, name)
	}
}

// Buckets are how many there are.
func (t *Table) Buckets() int { return int(t.total.Load()) }

// Decide takes a token of each limit that a request meets at a place, or none if one of them has none left.
// Now is the time on a clock that never goes back.
func (t *Table) Decide(now time.Duration, at string, who Who, asked []Asked) (out Answer) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p := t.places[at]
	var room [8]grip
	taken := room[:0]
	for _, a := range asked {
		l := t.limit(p, who, a)
		if l == nil {
			out.Unknown++
			continue
		}
		key, counts := l.key(t.seed, who, a.Values)
		if !counts {
			continue
		}
		g := grip{l, l.shard(key), key}
		level, ok := g.take(t, now)
		out.nearer(level, !ok)
		if !ok {
			for _, g := range taken {
				g.giveBack()
			}
			return out
		}
		taken = append(taken, g)
	}
	return out
}

// limit is one that is there, for who asks; else nil.
func (t *Table) limit(p *place, who Who, a Asked) *limit {
	if p == nil || !p.seen(who.Scopes) {
		return nil
	}
	if _, is := p.policies[a.Policy]; !is {
		return nil
	}
	l := find(t.policies[a.Policy], a.ID)
	if l == nil || len(l.By) != len(a.Values) {
		return nil
	}
	return l
}

func (p *place) seen(scopes []string) bool {
	for _, s := range scopes {
		if _, is := p.scopes[s]; is {
			return true
		}
	}
	return false
}

// nearer takes in one more level.
func (a *Answer) nearer(l Level, refuses bool) {
	if a.Counted++; refuses || a.Counted == 1 || l.Left < a.Nearest.Left {
		a.Nearest, a.Refused = l, refuses
	}
}

// String is all that the Table was told, in order: its limits, and its places with who sees them.
func (t *Table) String() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []string
	for policy, limits := range t.policies {
		for _, l := range limits {
			out = append(out, fmt.Sprint("policy ", policy, " ", l.Limit))
		}
	}
	for name, p := range t.places {
		out = append(out, fmt.Sprint("place ", name, " ", slices.Sorted(maps.Keys(p.policies)), " ", slices.Sorted(maps.Keys(p.scopes))))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
