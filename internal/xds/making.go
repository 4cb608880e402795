package xds

import (
	"slices"
	"time"
)

// patience is how long routes and virtual hosts wait for a filter of a policy that is still being made.
const patience = 5 * time.Second

func isListeners(k kind) bool { return k == listeners }

func isExtensions(k kind) bool { return k == extensions }

// bringing is what routes and virtual hosts, which may enter filters of policies, wait for: those filters that
// listeners brought. Envoy does not wait: a listener that replaces another one while its filter is being compiled
// would take the time of that from those whose connections end with the other one.
type bringing struct {
	nonce   uint64   // the listeners; 0: nothing is waited for
	asked   bool     // the proxy has them, and waits for filters
	filters []string // that were new
	until   time.Time
}

// making reports whether they have to wait.
func (s *pass) making() bool {
	b := &s.brought
	if b.nonce == 0 {
		return false
	}
	if !time.Now().Before(b.until) {
		b.until = time.Time{} // it rings once
	}
	if !b.asked {
		if s.flying(isListeners, b.nonce) {
			return true
		}
		// Envoy asks for the filters of a listener before it acknowledges it: the answers are in flight.
		b.nonce, b.asked = s.nonce, true
	}
	unmade := func(name string) bool { return s.unmade(extensions, name) && s.scope.item(extensions, name) == nil }
	if s.flying(isExtensions, b.nonce) || !b.until.IsZero() && slices.ContainsFunc(b.filters, unmade) {
		return true
	}
	s.brought = bringing{}
	return false
}

// bring begins to wait if this pass tells of listeners and there are filters of policies that the proxy did not ask
// for yet.
func (s *pass) bring() bool {
	if n := len(s.out); n == 0 || s.out[n-1].kind != listeners {
		return false
	}
	sub, b := s.subs[extensions], bringing{nonce: s.nonce, until: time.Now().Add(patience)}
	for l := range s.scope.chain {
		for name := range l.seen[extensions] {
			if restorable(id{extensions, name}) && (sub == nil || !sub.named(name)) {
				b.filters = append(b.filters, name)
			}
		}
	}
	if len(b.filters) == 0 {
		return false
	}
	b.filters = append(b.filters, s.brought.filters...)
	s.brought = b
	return true
}
