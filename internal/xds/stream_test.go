package xds

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// world is a commit in the making.
type world struct{ Change }

func commit(s *Store, lines ...func(*world)) uint64 {
	w := &world{Change{Resources: map[Resource]*discovery.Resource{}, Scopes: map[string]map[Name]*Variant{}}}
	for _, l := range lines {
		l(w)
	}
	return s.Commit(w.Change)
}

func at(typeURL, name string) Resource { return Resource{Name: Name{typeURL, name}} }

// put sets the ordinary variant of a resource.
func put(typeURL, name, version string) func(*world) {
	return putVariant(typeURL, name, "", version)
}

func putVariant(typeURL, name string, v Variant, version string) func(*world) {
	r := &discovery.Resource{Name: name, Version: version}
	if typeURL == ClusterType {
		b, _ := proto.Marshal(&cluster.Cluster{Name: name, ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}})
		r.Resource = &anypb.Any{TypeUrl: ClusterType, Value: b}
	}
	return func(w *world) { w.Resources[Resource{Name{typeURL, name}, v}] = r }
}

func drop(typeURL, name string) func(*world) {
	return func(w *world) { w.Resources[at(typeURL, name)] = nil }
}

func see(scope, typeURL string, names ...string) func(*world) {
	return seeVariant(scope, typeURL, "", names...)
}

func seeVariant(scope, typeURL string, v Variant, names ...string) func(*world) {
	return func(w *world) { w.set(scope, typeURL, &v, names) }
}

func hide(scope, typeURL string, names ...string) func(*world) {
	return func(w *world) { w.set(scope, typeURL, nil, names) }
}

func (w *world) set(scope, typeURL string, v *Variant, names []string) {
	if w.Scopes[scope] == nil {
		w.Scopes[scope] = map[Name]*Variant{}
	}
	for _, n := range names {
		w.Scopes[scope][Name{typeURL, n}] = v
	}
}

func TestStream(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(ClusterType, "a", "1"), put(ClusterType, "b", "1"), put(EndpointType, "a", "1"),
		see("web", ClusterType, "a"), see("web", EndpointType, "a", "late"))
	h := listen(t, s)
	f := h.open("web-0")
	f.subscribe(ClusterType)
	f.want("Cluster +a@1")
	f.subscribe(EndpointType, "a", "late")
	f.want("ClusterLoadAssignment +a@1 -late")
	commit(s, put(ClusterType, "b", "2")) // out of scope
	f.quiet()
	commit(s, put(EndpointType, "a", "2"), put(ClusterType, "a", "2"))
	f.want("Cluster +a@2")
	f.want("ClusterLoadAssignment +a@2")
	commit(s, put(EndpointType, "late", "1"))
	f.want("ClusterLoadAssignment +late@1")
	commit(s, see("web", ClusterType, "b"), hide("web", ClusterType, "a"))
	f.want("Cluster +b@2")
	f.want("Cluster -a")
	f.close()
	commit(s, see("web", ClusterType, "a"), put(ClusterType, "b", "3"), put(EndpointType, "late", "2"))
	g := h.open("web-0")
	g.resume(ClusterType, map[string]string{"a": "2", "b": "2", "z": "1"})
	g.resume(EndpointType, map[string]string{"a": "2", "late": "1"}, "a", "late")
	g.want("Cluster +b@3")
	g.want("ClusterLoadAssignment +late@2")
	g.want("Cluster -z")
	g.quiet()
}

func TestNothingOutsideTheScope(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(SecretType, "web", "1"), put(SecretType, "api", "1"), see("web", SecretType, "web"), see("api", SecretType, "api"))
	f := listen(t, s).open("web-0")
	f.subscribe(SecretType, "web", "api")
	f.want("Secret +web@1") // whether there is one of another's is not told
	commit(s, put(SecretType, "api", "2"))
	f.quiet()
	commit(s, see("web", SecretType, "api"))
	f.want("Secret +api@2")
	commit(s, hide("web", SecretType, "api"))
	f.want("Secret -api")
	commit(s, put(SecretType, "api", "3"))
	f.quiet()
}

// TestVariantsOfAPlace: proxies see, before what all see, what is for those at their place; what becomes of the one
// that they do not see is not told to them. Another variant with the same bytes is nothing new.
func TestVariantsOfAPlace(t *testing.T) {
	bases := map[string][]string{"web": {"here", "all"}, "api": {"there", "all"}, "here": {"all"}, "there": {"all"}}
	s := NewStore(func(key string) []string { return bases[key] })
	commit(s, put(EndpointType, "cart", "1"), put(EndpointType, "stock", "1"), putVariant(EndpointType, "cart", "a", "2"),
		see("all", EndpointType, "cart", "stock"), seeVariant("here", EndpointType, "a", "cart"))
	h := listen(t, s)
	here, there := h.open("web-0"), h.open("api-0")
	here.subscribe(EndpointType, "cart", "stock")
	here.want("ClusterLoadAssignment +cart@2 +stock@1")
	there.subscribe(EndpointType, "cart", "stock")
	there.want("ClusterLoadAssignment +cart@1 +stock@1")
	commit(s, put(EndpointType, "cart", "3"))
	there.want("ClusterLoadAssignment +cart@3")
	here.quiet()
	commit(s, putVariant(EndpointType, "cart", "a", "4"))
	here.want("ClusterLoadAssignment +cart@4")
	there.quiet()
	commit(s, putVariant(EndpointType, "cart", "b", "3"), seeVariant("there", EndpointType, "b", "cart"))
	there.quiet()
	commit(s, hide("here", EndpointType, "cart"), putVariant(EndpointType, "cart", "b", "5"))
	here.want("ClusterLoadAssignment +cart@3")
	there.want("ClusterLoadAssignment +cart@5")
}

func TestVariants(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(RouteType, "r", "1"), putVariant(RouteType, "r", "canary", "2"), putVariant(RouteType, "r", "same", "1"),
		see("web", RouteType, "r"), seeVariant("api", RouteType, "canary", "r"))
	h := listen(t, s)
	web, api := h.open("web-0"), h.open("api-0")
	web.subscribe(RouteType, "r")
	web.want("RouteConfiguration +r@1")
	api.subscribe(RouteType, "r")
	api.want("RouteConfiguration +r@2")
	commit(s, putVariant(RouteType, "r", "canary", "3"))
	api.want("RouteConfiguration +r@3")
	web.quiet()
	commit(s, seeVariant("web", RouteType, "same", "r")) // other key, same bytes
	web.quiet()
	commit(s, seeVariant("web", RouteType, "canary", "r"), see("api", RouteType, "r"))
	web.want("RouteConfiguration +r@3")
	api.want("RouteConfiguration +r@1")
}

// An undone change is not sent: the log knows what the proxy was told.
func TestUndoneChange(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(EndpointType, "a", "1"), put(EndpointType, "b", "1"), see("web", EndpointType, "a", "b"))
	h := listen(t, s)
	f := h.open("web-0")
	f.subscribe(EndpointType, "a", "b")
	f.want("ClusterLoadAssignment +a@1 +b@1")
	r := s.attach("web") // a reader that does not come round
	commit(s, put(EndpointType, "a", "2"))
	f.want("ClusterLoadAssignment +a@2")
	commit(s, put(EndpointType, "a", "1"), put(EndpointType, "b", "2"))
	f.want("ClusterLoadAssignment +a@1 +b@2")
	p := &proxy{store: s, read: r, fact: h.facts.add(Proxy{}, nil)}
	p.subs[endpoints] = &subscription{all: true, started: true}
	out, _ := p.plan()
	if len(out) != 1 || len(out[0].add) != 1 || out[0].add[0].name != "b" {
		t.Errorf("told %+v, want b alone", out)
	}
}

// The log is bounded, and a stream that is behind it is still told exactly what changed.
func TestTruncatedLog(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(EndpointType, "a", "0"), put(EndpointType, "b", "0"), put(EndpointType, "c", "0"), see("web", EndpointType, "a", "b", "c"))
	h := listen(t, s)
	p := &proxy{store: s, read: s.attach("web"), fact: h.facts.add(Proxy{}, nil)}
	p.subs[endpoints] = &subscription{all: true, started: true}
	commit(s, put(EndpointType, "c", "1"))
	for i := range 5 * logSize {
		commit(s, put(EndpointType, "a", string(rune('1'+i%2))))
	}
	commit(s, put(EndpointType, "c", "0"), drop(EndpointType, "b"))
	if n := len(s.scopes["web"].log); n > 2*logSize {
		t.Errorf("the log has %d records; the bound is %d", n, 2*logSize)
	}
	out, _ := p.plan()
	if len(out) != 2 || out[0].add[0].name != "a" || len(out[0].add) != 1 || out[1].gone[0] != "b" {
		t.Errorf("told %+v, want a changed and b gone", out)
	}
	if again, _ := p.plan(); len(again) != 0 {
		t.Errorf("told %+v once more", again)
	}
}
