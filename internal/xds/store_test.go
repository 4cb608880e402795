package xds

import (
	"fmt"
	"testing"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
)

// One more name costs the same in a scope of 10,000 as in one of 10.
func TestCommitCostsWhatItTouches(t *testing.T) {
	allocs := func(names int) float64 {
		s := NewStore(nil)
		s.attach("web")
		var all []string
		var lines []func(*world)
		for i := range names {
			all = append(all, fmt.Sprint(i))
			lines = append(lines, put(EndpointType, all[i], "1"))
		}
		commit(s, append(lines, see("web", EndpointType, all...))...)
		n := 0
		return testing.AllocsPerRun(100, func() {
			n++
			commit(s, put(EndpointType, "new", fmt.Sprint(n)), see("web", EndpointType, "new"))
			commit(s, hide("web", EndpointType, "new"))
		})
	}
	if few, many := allocs(10), allocs(10_000); many > few+2 {
		t.Errorf("%v allocations with 10,000 names, %v with 10", many, few)
	}
}

// A change wakes the streams that see it, and no others.
func TestWakesWhoSeesIt(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(EndpointType, "a", "1"), see("web", EndpointType, "a"), put(EndpointType, "b", "1"), see("api", EndpointType, "b"))
	web, api := s.attach("web").changed, s.attach("api").changed
	woken := func(c chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	commit(s, put(EndpointType, "a", "1")) // the same
	if woken(web) || woken(api) {
		t.Error("a change that changes nothing wakes somebody")
	}
	commit(s, put(EndpointType, "a", "2"))
	if !woken(web) || woken(api) {
		t.Error("want web woken, and not api")
	}
}

// Nothing is left of what is gone.
func TestForgets(t *testing.T) {
	s := NewStore(nil)
	r := s.attach("web")
	commit(s, put(ClusterType, "a", "1"), see("web", ClusterType, "a"), see("api", ClusterType, "later"), put("unknown", "x", "1"))
	commit(s, drop(ClusterType, "a"), hide("web", ClusterType, "a"), hide("api", ClusterType, "later"), hide("none", ClusterType, "never"))
	s.detach(r)
	if len(s.cells)+len(s.scopes) != 0 {
		t.Errorf("left: %v %v", s.cells, s.scopes)
	}
}

func TestSight(t *testing.T) {
	s := NewStore(nil)
	a := Name{RouteType, "r"}
	first := commit(s, put(RouteType, "r", "1"), putVariant(RouteType, "r", "same", "1"), see("web", RouteType, "r"))
	commit(s, put(ClusterType, "c", "1"))
	if got, ok := s.Sight("web", a); !ok || got != (Sight{"1", first}) {
		t.Errorf("got %+v", got)
	}
	commit(s, seeVariant("web", RouteType, "same", "r"))
	if got, _ := s.Sight("web", a); got.Revision != first {
		t.Errorf("the same bytes under another key are new since revision %d", got.Revision)
	}
	last := commit(s, putVariant(RouteType, "r", "same", "2"))
	if got, _ := s.Sight("web", a); got != (Sight{"2", last}) || s.Revision() != last {
		t.Errorf("got %+v", got)
	}
	if _, ok := s.Sight("api", a); ok {
		t.Error("a scope that sees nothing has a sight")
	}
}

// Every replica gives the same message the same version, and another message another.
func TestMarshal(t *testing.T) {
	m := &endpoint.ClusterLoadAssignment{ClusterName: "a", NamedEndpoints: map[string]*endpoint.Endpoint{}}
	for i := range 50 {
		m.NamedEndpoints[fmt.Sprint(i)] = &endpoint.Endpoint{Hostname: fmt.Sprint(i)}
	}
	r := Marshal("a", m)
	for range 20 {
		if again := Marshal("a", proto.CloneOf(m)); !proto.Equal(r, again) {
			t.Fatalf("version %s, and then %s", r.Version, again.Version)
		}
	}
	m.ClusterName = "b"
	if Marshal("a", m).Version == r.Version {
		t.Error("another message has the same version")
	}
	var back endpoint.ClusterLoadAssignment
	if err := r.Resource.UnmarshalTo(&back); err != nil || r.Name != "a" || r.Resource.TypeUrl != EndpointType {
		t.Errorf("%s is of type %s: %v", r.Name, r.Resource.TypeUrl, err)
	}
}
