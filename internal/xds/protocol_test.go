package xds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
)

// shop is a world with listeners, routes and virtual hosts for scope web.
func shop() *Store {
	s := NewStore(nil)
	commit(s, put(ClusterType, "a", "1"), put(EndpointType, "a", "1"), put(ListenerType, "l", "1"), put(RouteType, "r", "1"),
		put(VirtualHostType, "r/x", "1"), put(VirtualHostType, "r/y", "1"),
		see("web", ClusterType, "a", "b", "c"), see("web", EndpointType, "a", "b", "c"), see("web", ListenerType, "l"),
		see("web", RouteType, "r", "r2"), see("web", VirtualHostType, "r/x", "r/y", "r/z", "r2/x"))
	return s
}

// boot plays an Envoy's start on shop.
func (s *stream) boot() {
	s.t.Helper()
	s.subscribe(ClusterType)
	s.want("Cluster +a@1")
	s.subscribe(EndpointType, "a")
	s.want("ClusterLoadAssignment +a@1")
	s.subscribe(ListenerType)
	s.want("Listener +l@1")
	s.subscribe(RouteType, "r")
	s.want("RouteConfiguration +r@1")
	s.subscribe(VirtualHostType)
	s.want("VirtualHost +r/x@1 +r/y@1")
}

// Clusters that are new go out alone, and what refers to them when they are taken in.
func TestNewClusterBeforeRoute(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	commit(s, put(ClusterType, "b", "1"), put(EndpointType, "b", "1"), put(VirtualHostType, "r/x", "2"))
	first := f.unanswered("Cluster +b@1")
	f.quiet()
	commit(s, put(VirtualHostType, "r/y", "2"), put(EndpointType, "a", "2"))
	f.want("ClusterLoadAssignment +a@2") // what refers to nothing does not wait
	f.subscribe(EndpointType, "b")
	second := f.unanswered("ClusterLoadAssignment +b@1")
	f.ack(first)
	f.quiet()
	f.ack(second)
	f.want("VirtualHost +r/x@2 +r/y@2")
	// A wait is followed by a pass that does not wait, so a stream of new clusters starves nobody.
	commit(s, put(ClusterType, "c", "1"))
	third := f.unanswered("Cluster +c@1")
	commit(s, put(ListenerType, "l", "2"))
	f.quiet()
	f.ack(third)
	f.want("Listener +l@2")
}

// A filter that is still being made is waited for, and who has one from before keeps it.
func TestFilterInTheMaking(t *testing.T) {
	s := NewStore(nil)
	commit(s, put(ExtensionType, "other", "1"), see("web", ExtensionType, "policy/a", "policy/b", "other"))
	f := listen(t, s).open("web-0")
	f.resume(ExtensionType, map[string]string{"policy/a": "0"}, "policy/a", "policy/b", "other")
	f.want("TypedExtensionConfig +other@1")
	f.quiet()
	commit(s, put(ExtensionType, "policy/a", "1"), put(ExtensionType, "policy/b", "1"))
	f.want("TypedExtensionConfig +policy/a@1 +policy/b@1")
	commit(s, hide("web", ExtensionType, "policy/a"))
	f.want("TypedExtensionConfig -policy/a")
}

// A proxy that refuses a filter of one policy is told again of the one before, so that it refuses no listener for it;
// those that it has refused meanwhile it hears of again.
func TestRefusedFilterIsRestored(t *testing.T) {
	s := shop()
	commit(s, put(ExtensionType, "policy/a", "1"), see("web", ExtensionType, "policy/a"))
	f := listen(t, s).open("web-0")
	f.boot()
	f.subscribe(ExtensionType, "policy/a")
	f.want("TypedExtensionConfig +policy/a@1")
	commit(s, put(ExtensionType, "policy/a", "2"))
	filter := f.unanswered("TypedExtensionConfig +policy/a@2")
	commit(s, put(ListenerType, "l", "2"))
	listener := f.unanswered("Listener +l@2")
	f.nack(filter, "bad")
	restored := f.unanswered("TypedExtensionConfig +policy/a@1")
	f.nack(listener, "bad filter")
	f.ack(restored)
	f.want("Listener +l@2")
	f.quiet()
	commit(s, put(ExtensionType, "policy/a", "3"))
	filter = f.unanswered("TypedExtensionConfig +policy/a@3")
	commit(s, put(ExtensionType, "policy/a", "4"))
	newer := f.unanswered("TypedExtensionConfig +policy/a@4")
	f.nack(filter, "bad")
	f.ack(newer)
	f.quiet()
}

// Routes and virtual hosts wait for the filters that a listener brings, and not for those that are still being made.
func TestFiltersBeforeRoutes(t *testing.T) {
	s := shop()
	commit(s, put(ExtensionType, "other", "1"), see("web", ExtensionType, "other"))
	f := listen(t, s).open("web-0")
	f.boot()
	f.subscribe(ExtensionType, "other")
	f.want("TypedExtensionConfig +other@1")
	commit(s, put(ListenerType, "l", "2"), put(ExtensionType, "policy/a", "1"), see("web", ExtensionType, "policy/a", "policy/b"), put(VirtualHostType, "r/x", "2"))
	listener := f.unanswered("Listener +l@2")
	f.quiet()
	f.subscribe(ExtensionType, "policy/a", "policy/b")
	filter := f.unanswered("TypedExtensionConfig +policy/a@1")
	f.ack(listener)
	f.quiet()
	f.ack(filter)
	f.want("VirtualHost +r/x@2")
	f.quiet()
}

// For one that is still being made they wait too, for a while.
func TestRoutesWaitForAFilterInTheMaking(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	for i, name := range []string{"policy/a", "policy/b"} {
		version := fmt.Sprint(i + 2)
		commit(s, put(ListenerType, "l", version), see("web", ExtensionType, name), put(VirtualHostType, "r/x", version))
		listener := f.unanswered("Listener +l@" + version)
		f.subscribe(ExtensionType, name)
		f.ack(listener)
		f.quiet()
		if i == 0 {
			commit(s, put(ExtensionType, name, "1"))
			f.want("TypedExtensionConfig +" + name + "@1")
		}
		f.want("VirtualHost +r/x@" + version)
		f.quiet()
	}
}

// Where the one before is not known, it goes once it has the proxy refuse a listener.
func TestRefusedFilterGoes(t *testing.T) {
	s := shop()
	commit(s, put(ExtensionType, "policy/a", "2"), see("web", ExtensionType, "policy/a"))
	f := listen(t, s).open("web-0")
	f.boot()
	f.resume(ExtensionType, map[string]string{"policy/a": "1"}, "policy/a")
	f.nack(f.unanswered("TypedExtensionConfig +policy/a@2"), "bad")
	f.quiet()
	commit(s, put(ListenerType, "l", "2"))
	f.nack(f.unanswered("Listener +l@2"), "bad filter")
	f.want("TypedExtensionConfig -policy/a")
	f.nack(f.unanswered("Listener +l@2"), "bad itself")
	f.quiet()
	commit(s, put(ListenerType, "l", "3"))
	f.want("Listener +l@3")
	f.quiet()
}

// A NACK ends the wait too.
func TestRefusedClusterHoldsNothingBack(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	commit(s, put(ClusterType, "b", "1"), put(VirtualHostType, "r/x", "2"))
	f.nack(f.unanswered("Cluster +b@1"), "bad")
	f.want("VirtualHost +r/x@2")
}

// What is removed goes after what named it, and not before that was answered.
func TestRemovalsInReverse(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	commit(s, drop(ClusterType, "a"), drop(EndpointType, "a"), drop(VirtualHostType, "r/y"), put(VirtualHostType, "r/x", "2"), drop(ListenerType, "l"))
	hosts := f.unanswered("VirtualHost +r/x@2")
	gone, listeners := f.unanswered("VirtualHost -r/y"), f.unanswered("Listener -l")
	f.quiet()
	f.ack(hosts)
	f.ack(gone)
	f.quiet()
	f.nack(listeners, "still in use") // an answer all the same
	f.want("ClusterLoadAssignment -a")
	f.want("Cluster -a")
	f.quiet()
}

// A listener closes connections when an extension of its is gone, so that one goes after the listener has
// gone on without it, and before the clusters that it named.
func TestExtensionOutlivesItsListener(t *testing.T) {
	s := shop()
	commit(s, put(ExtensionType, "l", "1"), see("web", ExtensionType, "l"))
	f := listen(t, s).open("web-0")
	f.boot()
	f.subscribe(ExtensionType, "l")
	f.want("TypedExtensionConfig +l@1")
	commit(s, drop(ExtensionType, "l"), drop(ClusterType, "a"), put(ListenerType, "l", "2"))
	listener := f.unanswered("Listener +l@2")
	f.quiet()
	f.ack(listener)
	f.want("TypedExtensionConfig -l")
	f.want("Cluster -a")
	f.quiet()
}

// A cluster that comes back while its removal is held is not touched at all.
func TestRemovalTakenBack(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	commit(s, hide("web", ClusterType, "a"), put(RouteType, "r", "2"))
	r := f.unanswered("RouteConfiguration +r@2")
	commit(s, see("web", ClusterType, "a"))
	f.ack(r)
	f.quiet()
}

func TestRefusal(t *testing.T) {
	s := shop()
	var logged []string
	h := listen(t, s, func(o *Options) {
		o.Log = funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{})
	})
	f := h.open("web-0")
	f.boot()
	commit(s, put(VirtualHostType, "r/x", "2"), put(VirtualHostType, "r/y", "2"), drop(VirtualHostType, "r/z"))
	f.nack(f.unanswered("VirtualHost +r/x@2 +r/y@2"), "one is bad")
	one, two := f.next(), f.next()
	if text(one) != "VirtualHost +r/x@2" {
		one, two = two, one
	}
	f.ack(two)
	f.nack(one, "x is bad")
	f.quiet()
	all := h.facts.All()
	if want := (Refusal{Name{VirtualHostType, "r/x"}, "2", "x is bad"}); len(all) != 1 || len(all[0].Refused) != 1 || all[0].Refused[0] != want {
		t.Errorf("facts are %+v, want the refusal %+v", all, want)
	}
	f.subscribe(VirtualHostType, "r/x") // even if asked
	f.quiet()
	commit(s, put(VirtualHostType, "r/x", "3"))
	f.want("VirtualHost +r/x@3")
	f.quiet()
	if all := h.facts.All(); len(all[0].Refused) != 0 {
		t.Errorf("facts are %+v, want no refusal", all)
	}
	commit(s, put(VirtualHostType, "r/x", "4"))
	f.nack(f.unanswered("VirtualHost +r/x@4"), "again")
	f.quiet()
	if all := h.facts.All(); len(all[0].Refused) != 1 {
		t.Errorf("facts are %+v, want a refusal", all)
	}
	commit(s, drop(VirtualHostType, "r/x"))
	f.want("VirtualHost -r/x")
	f.quiet()
	if all := h.facts.All(); len(all[0].Refused) != 0 {
		t.Errorf("facts are %+v, want no refusal of what is gone", all)
	}
	if len(logged) != 2 || !strings.Contains(logged[0], "x is bad") || !strings.Contains(logged[1], "again") {
		t.Errorf("logged %q, want each refusal once", logged)
	}
}

// Envoy subscribes to virtual hosts once and drops those whose RouteConfiguration it does not have.
func TestVirtualHostsFollowTheirRoutes(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.boot()
	commit(s, put(RouteType, "r2", "1"), put(VirtualHostType, "r2/x", "1"))
	f.quiet() // nobody asked for r2
	f.subscribe(RouteType, "r2")
	f.want("RouteConfiguration +r2@1")
	f.want("VirtualHost +r2/x@1")
	commit(s, put(VirtualHostType, "r2/x", "2"))
	f.want("VirtualHost +r2/x@2")
}

func TestAcknowledged(t *testing.T) {
	s := shop()
	h := listen(t, s)
	x := Name{VirtualHostType, "r/x"}
	delivery := func(proxies, acknowledged, refused int) {
		t.Helper()
		d, ok := h.facts.Delivery(s, "web", x)
		if !ok || d.Proxies != proxies || d.Acknowledged != acknowledged || len(d.Refused) != refused {
			t.Errorf("delivery is %+v, want %d of %d and %d refused", d, acknowledged, proxies, refused)
		}
	}
	f, g := h.open("web-0"), h.open("web-1")
	f.boot()
	f.quiet()
	g.subscribe(ClusterType)
	g.want("Cluster +a@1")
	g.quiet()
	delivery(2, 1, 0) // the other one has no listeners yet
	g.subscribe(EndpointType, "a")
	g.want("ClusterLoadAssignment +a@1")
	g.subscribe(ListenerType)
	g.want("Listener +l@1")
	g.quiet()
	delivery(2, 2, 0)
	commit(s, put(VirtualHostType, "r/x", "2"))
	r := f.unanswered("VirtualHost +r/x@2")
	g.quiet()
	delivery(2, 1, 0)
	f.nack(r, "bad")
	f.quiet()
	delivery(2, 1, 1)
	if _, ok := h.facts.Delivery(s, "web", Name{VirtualHostType, "nope"}); ok {
		t.Error("there is a delivery of what nobody sees")
	}
	for len(h.facts.Changed()) > 0 {
		<-h.facts.Changed()
	}
	commit(s, put(EndpointType, "a", "2"))
	f.want("ClusterLoadAssignment +a@2")
	g.want("ClusterLoadAssignment +a@2")
	select {
	case <-h.facts.Changed():
	case <-time.After(10 * time.Second):
		t.Error("no notice of an acknowledgement")
	}
}

func TestUnsubscribe(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.subscribe(EndpointType, "a", "b")
	f.want("ClusterLoadAssignment +a@1 -b")
	f.unsubscribe(EndpointType, "a")
	f.quiet()
	commit(s, put(EndpointType, "a", "2"), put(EndpointType, "b", "1"))
	f.want("ClusterLoadAssignment +b@1")
	// Of a name that it also gets by wildcard, Envoy must be told whether it keeps it.
	f.subscribe(ClusterType, "*", "a", "far")
	f.want("Cluster +a@1 -far")
	f.unsubscribe(ClusterType, "a", "far")
	f.want("Cluster +a@1 -far")
	f.unsubscribe(ClusterType, "*")
	f.quiet()
	commit(s, put(ClusterType, "a", "2"))
	f.quiet()
}

// A proxy that answers nothing is told less often, and then everything at once.
func TestSlowProxy(t *testing.T) {
	s := shop()
	f := listen(t, s).open("web-0")
	f.subscribe(EndpointType, "a")
	unanswered := []string{f.unanswered("ClusterLoadAssignment +a@1").Nonce}
	for i := range window - 1 {
		commit(s, put(EndpointType, "a", fmt.Sprint(i+2)))
		unanswered = append(unanswered, f.unanswered(fmt.Sprintf("ClusterLoadAssignment +a@%d", i+2)).Nonce)
	}
	for i := range 10 {
		commit(s, put(EndpointType, "a", fmt.Sprintf("late %d", i)))
	}
	for _, nonce := range unanswered {
		f.acknowledge(EndpointType, nonce)
	}
	f.want("ClusterLoadAssignment +a@late 9")
	f.quiet()
}

func TestUnknownType(t *testing.T) {
	f := listen(t, shop()).open("web-0")
	f.subscribe("type.googleapis.com/envoy.service.runtime.v3.Runtime")
	if err := f.end(); !strings.Contains(err.Error(), "is not served") {
		t.Errorf("ended with %v", err)
	}
}
