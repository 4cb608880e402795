package xds

import (
	"maps"
	"testing"
)

// TestSettled: who waits until all proxies have something is told of each that has not, or that said no.
func TestSettled(t *testing.T) {
	s := shop()
	h := listen(t, s)
	roots := Name{SecretType, "roots"}
	settled := func(want map[string]bool, names ...Name) {
		t.Helper()
		if got := h.facts.Settled(s, names...); !maps.Equal(got, want) {
			t.Errorf("settled: %v instead of %v", got, want)
		}
	}
	settled(map[string]bool{}, roots)
	f, g := h.open("web-0"), h.open("web-1")
	f.boot()
	f.subscribe(SecretType, roots.Name)
	f.quiet()
	g.quiet()
	settled(map[string]bool{"shop/web-0": true, "shop/web-1": true}, roots) // nobody sees any
	commit(s, put(SecretType, roots.Name, "1"), see("web", SecretType, roots.Name))
	r := f.unanswered("Secret +roots@1")
	g.quiet()
	settled(map[string]bool{"shop/web-0": false, "shop/web-1": false}, roots)
	f.ack(r)
	f.quiet()
	settled(map[string]bool{"shop/web-0": true, "shop/web-1": false}, roots, Name{SecretType, "nothing"})

	commit(s, put(SecretType, roots.Name, "2"))
	r = f.unanswered("Secret +roots@2")
	f.nack(r, "no certificate")
	f.quiet()
	settled(map[string]bool{"shop/web-0": false, "shop/web-1": false}, roots)

	again := h.open("web-0")
	again.quiet()
	settled(map[string]bool{"shop/web-0": false, "shop/web-1": false}, roots)
}
