package incr

import (
	"fmt"
	"strings"
	"testing"
)

func filled(services int) *shop {
	s := newShop()
	s.g.Commit(func() {
		for i := range services {
			k := fmt.Sprint("svc-", i)
			s.services.Set(k, 80)
			s.slices.Set(k, slice{k, "1,2"})
			s.hosts.Set(k, k+".example")
			s.routes.Set(k, rule{k, k, 1})
		}
	})
	return s
}

// An equal result stops a change: addresses move between two slices of one service.
func TestEqualResultStopsTheChange(t *testing.T) {
	s := filled(3)
	s.g.Commit(func() { s.slices.Set("more", slice{"svc-1", "3"}) })
	cluster := s.got["cluster svc-1"]
	s.runs = 0
	s.g.Commit(func() {
		s.slices.Set("svc-1", slice{"svc-1", "3"})
		s.slices.Set("more", slice{"svc-1", "1,2"})
	})
	if s.got["cluster svc-1"] != cluster || s.runs != 0 {
		t.Fatalf("cluster %q, was %q; %d runs", s.got["cluster svc-1"], cluster, s.runs)
	}
}

// One change among many reaches one result.
func TestChangeReachesOnlyItsReaders(t *testing.T) {
	s := filled(1000)
	s.runs = 0
	s.g.Commit(func() { s.routes.Set("svc-7", rule{"svc-7", "svc-7", 2}) })
	if s.runs != 1 {
		t.Fatalf("one route changed, %d virtual hosts were computed", s.runs)
	}
}

// What nobody reads is dropped, inputs that were asked for in vain included.
func TestUnreadCellsAreDropped(t *testing.T) {
	s := filled(10)
	cells := len(s.hosts.cells)
	s.g.Commit(func() { s.routes.Set("late", rule{"nowhere", "svc-1", 1}) })
	if len(s.hosts.cells) != cells+1 {
		t.Fatal("the absent hostname was not read")
	}
	s.g.Commit(func() {
		s.routes.Delete("late")
		for i := range 10 {
			s.routes.Delete(fmt.Sprint("svc-", i))
			s.services.Delete(fmt.Sprint("svc-", i))
			s.slices.Delete(fmt.Sprint("svc-", i))
			s.hosts.Delete(fmt.Sprint("svc-", i))
		}
	})
	for name, n := range map[string]int{"routes": len(s.routes.cells), "services": len(s.services.cells),
		"slices": len(s.slices.cells), "hosts": len(s.hosts.cells), "groups": len(s.byHost.cells), "results": len(s.got)} {
		if n != 0 {
			t.Errorf("%d %s are still held", n, name)
		}
	}
}

// A read from outside keeps nothing alive.
func TestOutsideReadIsDropped(t *testing.T) {
	g := &Graph{}
	in := NewTable[string](g, eq[int])
	double := NewMemo(g, "double", eq[int], func(q *Query, k string) int { v, _ := in.Get(q, k); return 2 * v })
	g.Commit(func() { in.Set("a", 2) })
	if v := double.Get(nil, "a"); v != 4 {
		t.Fatal(v)
	}
	g.Commit(func() {})
	if len(double.cells) != 0 {
		t.Fatal("the result is still held")
	}
}

func TestCyclePanics(t *testing.T) {
	g := &Graph{}
	var a, b *Memo[string, int]
	a = NewMemo(g, "a", eq[int], func(q *Query, k string) int { return b.Get(q, k) })
	b = NewMemo(g, "b", eq[int], func(q *Query, k string) int { return a.Get(q, k) })
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "a(x) reads itself") {
			t.Fatal(r)
		}
	}()
	a.Get(nil, "x")
}

func BenchmarkEndpointChange(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n, "services"), func(b *testing.B) {
			s := filled(n)
			for i := 0; b.Loop(); i++ {
				s.g.Commit(func() { s.slices.Set(fmt.Sprint("svc-", i%n), slice{fmt.Sprint("svc-", i%n), fmt.Sprint(i)}) })
			}
		})
	}
}

func BenchmarkFromScratch(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n, "services"), func(b *testing.B) {
			for b.Loop() {
				filled(n)
			}
		})
	}
}

// A View over a Union follows each of its sources, whose keys may be the same but for their names.
func TestUnionOfNamed(t *testing.T) {
	g := &Graph{}
	a, b := NewTable[string](g, eq[int]), NewTable[string](g, eq[int])
	g.Commit(func() { a.Set("x", 1) })
	prefix := func(p string) func(string) string { return func(k string) string { return p + k } }
	all := NewView(Union(Named(Live[string](a), prefix("a/")), Named(Live[string](b), prefix("b/"))), "all",
		func(_ *Query, k string) []string { return []string{"keys", k} })
	keys := func() string { return fmt.Sprint(all.Get(nil, "keys")) }
	g.Commit(func() { b.Set("x", 2); b.Set("y", 3) })
	if got := keys(); got != "[a/x b/x b/y]" {
		t.Fatal(got)
	}
	g.Commit(func() { b.Delete("x"); a.Set("x", 4) })
	if got := keys(); got != "[a/x b/y]" {
		t.Fatal(got)
	}
}
