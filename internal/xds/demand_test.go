package xds

import (
	"slices"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// A cluster on demand goes only to a proxy that asks for it by name, is answered for once there is
// something to say, and is wanted as long as somebody asks.
func TestOnDemand(t *testing.T) {
	const name = "pod|10.0.0.1:80"
	var told []bool
	s := NewStore(nil)
	d := &demands{changed: func(of string, wanted bool) {
		if of != name {
			t.Errorf("told of %q", of)
		}
		told = append(told, wanted)
	}, num: map[string]int{}}
	commit(s, put(ClusterType, "a", "1"), see("web", ClusterType, "a", name))
	p := &proxy{store: s, read: s.attach("web"), maxNames: 100, demands: d, fact: NewFacts().add(Proxy{}, func(Refusal) {})}
	ask := func(names ...string) {
		if _, err := p.take(&discovery.DeltaDiscoveryRequest{TypeUrl: ClusterType, ResourceNamesSubscribe: names}); err != nil {
			t.Fatal(err)
		}
	}
	sent := func() (names []string) {
		out, _ := p.plan()
		for _, r := range out {
			for _, it := range r.add {
				names = append(names, it.name)
			}
			names = append(names, r.gone...)
		}
		return names
	}
	ask("*")
	commit(s, put(ClusterType, name, "1"))
	if got := sent(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("without asking it is sent %v", got)
	}
	commit(s, func(w *world) { w.Resources[at(ClusterType, name)] = nil })
	ask(name)
	if got := sent(); len(got) > 0 || !slices.Equal(told, []bool{true}) {
		t.Errorf("what is looked up is answered with %v; told %v", got, told)
	}
	commit(s, put(ClusterType, name, "2"))
	if got := sent(); !slices.Equal(got, []string{name}) {
		t.Errorf("when it is found, %v is sent", got)
	}
	d.release(p.subs[clusters])
	if !slices.Equal(told, []bool{true, false}) {
		t.Errorf("told %v", told)
	}
}
