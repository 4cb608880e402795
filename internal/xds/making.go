package xds

func isListeners(k kind) bool { return k == listeners }

func isExtensions(k kind) bool { return k == extensions }

// making reports whether routes and virtual hosts, which may enter filters of policies, have to wait for those that
// listeners brought. Envoy does not wait: a listener that replaces another one while its filter is being compiled
// would take the time of that from those whose connections end with the other one.
func (p *proxy) making() bool {
	if p.brought == 0 {
		return false
	}
	if !p.asked {
		if p.flying(isListeners, p.brought) {
			return true
		}
		// Envoy asks for the filters of a listener before it acknowledges it: the answers are in flight.
		p.brought, p.asked = p.nonce, true
	}
	if p.flying(isExtensions, p.brought) {
		return true
	}
	p.brought, p.asked = 0, false
	return false
}

// brings reports whether this pass tells of listeners and there are filters of policies that the proxy did not ask
// for yet.
func (s *pass) brings() bool {
	if n := len(s.out); n == 0 || s.out[n-1].kind != listeners {
		return false
	}
	sub := s.subs[extensions]
	if sub != nil && sub.started {
		for _, c := range s.changed[extensions] {
			if s.made(c.name) && !sub.named(c.name) {
				return true
			}
		}
		return false
	}
	for l := range s.scope.chain {
		for name := range l.seen[extensions] {
			if s.made(name) {
				return true
			}
		}
	}
	return false
}

// made says whether there is such a filter of a policy.
func (s *pass) made(name string) bool {
	return restorable(id{extensions, name}) && s.scope.item(extensions, name) != nil
}
