package xds

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is one proxy's stream.
type Proxy struct {
	Identity
	Scope  string
	Stream uint64 // unlike that of any other stream of this server
}

// Refusal is a resource that a proxy refused when it was sent alone.
type Refusal struct {
	Name    Name
	Version string
	Detail  string // what Envoy said
}

// Fact is what is known of one proxy.
type Fact struct {
	Proxy
	// Acknowledged is the revision up to which it has applied all that its scope shows,
	// except what it refused. It does not move while nothing changes in its scope, and does not wait
	// for clusters that linger.
	Acknowledged uint64
	Refused      []Refusal // by name
}

// Same says whether two facts about the same stream are.
func (f Fact) Same(g Fact) bool {
	return f.Acknowledged == g.Acknowledged && slices.Equal(f.Refused, g.Refused)
}

// Facts are what the connected proxies acknowledged and refused.
type Facts struct {
	mu      sync.Mutex
	last    uint64
	proxies map[uint64]*fact
	changed chan struct{}
	pending atomic.Bool // progress that is told soon
}

// progressEvery is how often Changed tells of acknowledgements. There is one per proxy and
// change, so that telling each at once would cost the reader more than the change did.
const progressEvery = 50 * time.Millisecond

// fact is one proxy's part, written by its stream.
type fact struct {
	of        *Facts
	proxy     Proxy
	acked     atomic.Uint64
	mu        sync.Mutex
	refused   map[Name]Refusal
	onRefusal func(Refusal)
}

// NewFacts returns Facts of no proxy.
func NewFacts() *Facts {
	return &Facts{proxies: map[uint64]*fact{}, changed: make(chan struct{}, 1)}
}

// Changed receives after facts changed: at once after a refusal, and when a proxy comes or
// goes; within 50 ms after an acknowledgement. Several changes may be told as one.
func (f *Facts) Changed() <-chan struct{} { return f.changed }

// All returns what is known of every connected proxy.
func (f *Facts) All() []Fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Fact, 0, len(f.proxies))
	for _, p := range f.proxies {
		all = append(all, p.state())
	}
	return all
}

// Delivery is how far one resource has come among the proxies of a scope.
type Delivery struct {
	Version      string
	Proxies      int // connected ones that see the scope's names
	Acknowledged int // of these, how many applied that version
	Refused      []Fact
}

// Delivery returns how far what a scope sees under that name has come; false if the
// scope sees nothing there.
func (f *Facts) Delivery(s *Store, scope string, n Name) (Delivery, bool) {
	sight, ok := s.Sight(scope, n)
	d := Delivery{Version: sight.Version}
	if !ok {
		return d, false
	}
	for _, p := range f.All() {
		if !s.within(p.Scope, scope) {
			continue
		}
		d.Proxies++
		switch {
		case p.refuses(n, sight.Version):
			d.Refused = append(d.Refused, p)
		case p.Acknowledged >= sight.Revision:
			d.Acknowledged++
		}
	}
	return d, true
}

func (f *Fact) refuses(n Name, version string) bool {
	for _, r := range f.Refused {
		if r.Name == n && r.Version == version {
			return true
		}
	}
	return false
}

func (f *Facts) add(p Proxy, refused func(Refusal)) *fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	p.Stream = f.last
	one := &fact{of: f, proxy: p, onRefusal: refused}
	f.proxies[p.Stream] = one
	f.notify()
	return one
}

func (f *Facts) remove(one *fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.proxies, one.proxy.Stream)
	f.notify()
}

// notify never blocks: a notice that was not taken yet stands for this one too.
func (f *Facts) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *Facts) progress() {
	if f.pending.CompareAndSwap(false, true) {
		time.AfterFunc(progressEvery, func() {
			f.pending.Store(false)
			f.notify()
		})
	}
}

func (f *fact) acknowledge(rev uint64) {
	if rev > f.acked.Load() {
		f.acked.Store(rev)
		f.of.progress()
	}
}

func (f *fact) refuse(r Refusal) {
	f.mu.Lock()
	if f.refused == nil {
		f.refused = map[Name]Refusal{}
	}
	f.refused[r.Name] = r
	f.mu.Unlock()
	f.onRefusal(r)
	f.of.notify()
}

func (f *fact) accept(n Name) {
	f.mu.Lock()
	delete(f.refused, n)
	f.mu.Unlock()
	f.of.notify()
}

func (f *fact) state() Fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Fact{Proxy: f.proxy, Acknowledged: f.acked.Load()}
	for _, r := range f.refused {
		s.Refused = append(s.Refused, r)
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int { return cmp.Compare(a.Name.String(), b.Name.String()) })
	return s
}
