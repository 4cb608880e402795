package xds

import "time"

// pass is one frozen view of the scope: all that one proxy is to be told of it now.
// It is drawn up under the Store's lock and sent outside it.
type pass struct {
	*proxy
	scope   *scope
	rev     uint64
	changed [kinds][]change
	gone    [kinds][]change
	fresh   bool // it sends clusters that the proxy did not have
	out     []*response
}

// change is a name that may have to be told, and the version that the proxy has of it.
type change struct {
	name, was string
	after     uint64    // of a removal: it waits until responses up to this nonce are answered
	until     time.Time // and then until this time
}

// plan draws up the responses that bring the proxy to the Store's present revision,
// and the channel that closes when there is more.
//
// Additions go in the order of kinds. When clusters are new to the proxy, listeners,
// routes and virtual hosts wait until it has taken in those clusters and the endpoints
// and secrets that it asked for with them, so that no request meets a cluster that is
// not there yet; the pass after such a wait does not wait again, so that nothing starves.
func (p *proxy) plan() ([]*response, <-chan struct{}) {
	p.store.mu.RLock()
	defer p.store.mu.RUnlock()
	s := p.newPass()
	s.collect()
	s.restore()
	closed, opened := p.gated()
	making := s.making()
	for k := range kinds {
		if k == listeners && s.fresh && !closed && !opened {
			p.gate, p.settled, closed = p.nonce, false, true
		}
		if p.subs[k] != nil {
			s.tell(k, closed && k.refers() || making && k > extensions)
		}
		if k == listeners && s.bring() {
			making = true
		}
	}
	s.withdraw(closed || p.flying(isClusters, p.greeting))
	return s.out, s.read.changed
}

func (p *proxy) newPass() *pass {
	s := &pass{proxy: p, scope: p.read.scope, rev: p.store.rev, changed: p.changed, gone: p.gone}
	for k := range kinds {
		s.changed[k], s.gone[k] = emptied(s.changed[k]), emptied(s.gone[k])
	}
	return s
}

// emptied keeps a small slice's memory for the next pass; a large one is rare, and every
// stream would keep it.
func emptied(of []change) []change {
	if cap(of) > 64 {
		return nil
	}
	return of[:0]
}

// collect gathers the names that changed since the last pass, each with the version it had then.
func (s *pass) collect() {
	log := s.read.news()
	var seen map[id]struct{}
	if len(log)+len(s.held)+len(s.read.owed) > 1 {
		seen = map[id]struct{}{}
	}
	for n, c := range s.held {
		s.note(seen, n, c)
	}
	for n, was := range s.read.owed {
		s.note(seen, n, change{name: n.name, was: was})
	}
	for _, r := range log {
		s.note(seen, r.id, change{name: r.name, was: r.was})
	}
	s.held, s.read.owed, s.read.told = nil, nil, s.rev
	s.lingering, s.due = 0, time.Time{}
	s.proxy.changed, s.proxy.gone = s.changed, s.gone
}

// note keeps the oldest that is known of a name: that is what the proxy was told.
func (s *pass) note(seen map[id]struct{}, n id, c change) {
	if seen != nil {
		if _, ok := seen[n]; ok {
			return
		}
		seen[n] = struct{}{}
	}
	if s.subs[n.kind] != nil {
		s.changed[n.kind] = append(s.changed[n.kind], c)
	}
}

// tell drafts what there is to say of one kind and queues it, or keeps it for later.
func (s *pass) tell(k kind, later bool) {
	if later {
		for _, c := range s.changed[k] {
			s.hold(k, c)
		}
		return
	}
	sub, d := s.subs[k], draft{kind: k}
	switch {
	case !sub.started && sub.all:
		s.everything(&d)
	case len(sub.answer)+len(s.warm)+len(s.reopened) > 0:
		d.told = make(map[string]struct{}, len(sub.answer))
	}
	s.answers(&d)
	for _, c := range s.changed[k] {
		if sub.started { // before that, the proxy has what it said it has
			s.say(&d, c, false)
		}
	}
	sub.has, sub.answer, sub.started = nil, nil, true
	s.queue(&d)
}

// withdraw queues the removals, in reverse order. Clusters, endpoints, secrets and
// extensions, without which a listener closes connections, are kept until the proxy has
// answered all that may have stopped others referring to them.
// On a new stream that is: until it has answered the first clusters, since by then it has
// asked for its listeners and routes too.
func (s *pass) withdraw(later bool) {
	for k := kinds - 1; k >= 0; k-- {
		var gone []string
		for _, c := range s.gone[k] {
			if s.waits(k, &c, later) || k == clusters && s.lingers(&c) {
				s.hold(k, c)
			} else {
				s.accept(id{k, c.name})
				gone = append(gone, c.name)
			}
		}
		if len(gone) > 0 {
			s.respond(k, nil, gone)
		}
	}
}

// waits reports whether a removal has to wait, and settles for which answers.
func (s *pass) waits(k kind, c *change, later bool) bool {
	if k.refers() && k != extensions {
		return false
	}
	if c.after == 0 && !later {
		c.after = s.nonce
	}
	return later || s.flying(kind.refers, c.after)
}

// lingers reports whether the removal of a cluster that nothing refers to any more has to wait for what
// goes on by it, and settles until when.
func (s *pass) lingers(c *change) bool {
	if s.linger == nil {
		return false
	}
	if c.until.IsZero() {
		c.until = time.Now().Add(s.linger(c.name))
	}
	if !time.Now().Before(c.until) {
		return false
	}
	s.lingering++
	if s.due.IsZero() || c.until.Before(s.due) {
		s.due = c.until
	}
	return true
}

func (s *pass) respond(k kind, add []*item, gone []string) {
	s.nonce++
	r := &response{kind: k, nonce: s.nonce, rev: s.rev, add: add, gone: gone}
	s.out = append(s.out, r)
	s.flight = append(s.flight, r)
}

func (s *pass) hold(k kind, c change) {
	if s.held == nil {
		s.held = map[id]change{}
	}
	s.held[id{k, c.name}] = c
}
