package incr

import (
	"fmt"
	"maps"
	"math/rand"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// shop is a small world with every kind of input and result: services by name, endpoints
// indexed by service, routes whose hostnames depend on another table, and virtual hosts made of
// all routes that claim a hostname.
type shop struct {
	g        *Graph
	services *Table[string, int]
	slices   *Table[string, slice]
	routes   *Table[string, rule]
	hosts    *Table[string, string] // listener → hostname
	bySvc    *Index[string, string]
	byHost   *View[string, string]
	runs     int
	got      map[string]string
}

type slice struct {
	service string
	addrs   string // comma separated
}

type rule struct {
	listener, service string
	weight            int
}

func eq[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

func newShop() *shop {
	s := &shop{g: &Graph{}, got: map[string]string{}}
	s.services = NewTable[string](s.g, eq[int])
	s.slices = NewTable[string](s.g, eq[slice])
	s.routes = NewTable[string](s.g, eq[rule])
	s.hosts = NewTable[string](s.g, eq[string])
	s.bySvc = NewIndex(s.slices, func(_ string, v slice) []string { return []string{v.service} })
	s.byHost = NewView(s.routes, "byHost", s.hostnames)
	wanted := NewView(s.routes, "wanted", func(q *Query, k string) []string {
		r, _ := s.routes.Get(q, k)
		return []string{r.service}
	})
	endpoints := NewMemo(s.g, "endpoints", eq[string], s.endpoints)
	vhost := NewMemo(s.g, "vhost", eq[string], func(q *Query, host string) string { return s.vhost(q, host, endpoints) })
	cluster := NewMemo(s.g, "cluster", eq[string], func(q *Query, k string) string { return endpoints.Get(q, k) })
	Keep(vhost, s.report("vhost "), s.byHost)
	Keep(cluster, s.report("cluster "), wanted, s.services)
	return s
}

func (s *shop) report(kind string) func(string, string, bool) {
	return func(k, v string, has bool) {
		if has {
			s.got[kind+k] = v
		} else {
			delete(s.got, kind+k)
		}
	}
}

func (s *shop) hostnames(q *Query, k string) []string {
	r, _ := s.routes.Get(q, k)
	host, ok := s.hosts.Get(q, r.listener)
	if !ok {
		return nil
	}
	return strings.Split(host, ",")
}

func (s *shop) endpoints(q *Query, service string) string {
	port, ok := s.services.Get(q, service)
	if !ok {
		return "none"
	}
	var all []string
	for _, k := range s.bySvc.Get(q, service) {
		v, _ := s.slices.Get(q, k)
		all = append(all, strings.Split(v.addrs, ",")...)
	}
	slices.Sort(all)
	return fmt.Sprint(port, all)
}

func (s *shop) vhost(q *Query, host string, endpoints *Memo[string, string]) string {
	s.runs++
	var b strings.Builder
	for _, k := range s.byHost.Get(q, host) {
		r, _ := s.routes.Get(q, k)
		fmt.Fprintf(&b, "%s→%s*%d %v;", k, r.service, r.weight, endpoints.Get(q, r.service) != "none")
	}
	return b.String()
}

// step does one random change.
func (s *shop) step(r *rand.Rand) {
	k := fmt.Sprint(r.Intn(8))
	switch r.Intn(8) {
	case 0:
		s.services.Delete(k)
	case 1:
		s.services.Set(k, r.Intn(3))
	case 2:
		s.slices.Set(k, slice{fmt.Sprint(r.Intn(8)), fmt.Sprint(r.Intn(4), ",", r.Intn(4))})
	case 3:
		s.slices.Delete(k)
	case 4, 5:
		s.routes.Set(k, rule{fmt.Sprint(r.Intn(4)), fmt.Sprint(r.Intn(8)), r.Intn(2)})
	case 6:
		s.routes.Delete(k)
	case 7:
		l := fmt.Sprint(r.Intn(4))
		if r.Intn(3) == 0 {
			s.hosts.Delete(l)
		} else {
			s.hosts.Set(l, []string{"a", "b", "a,b", "c"}[r.Intn(4)])
		}
	}
}

// again computes the same world from scratch.
func (s *shop) again() *shop {
	f := newShop()
	f.g.Commit(func() {
		s.services.Each(f.services.Set)
		s.slices.Each(f.slices.Set)
		s.routes.Each(f.routes.Set)
		s.hosts.Each(f.hosts.Set)
	})
	return f
}

// TestOracle: after any history of changes the incremental result is the one computed from scratch.
func TestOracle(t *testing.T) {
	seeds := int64(200)
	if os.Getenv("WEFT_LONG") == "1" {
		seeds = 10000
	}
	for seed := range seeds {
		r := rand.New(rand.NewSource(seed))
		s := newShop()
		for n := range 150 {
			s.g.Commit(func() {
				for range 1 + r.Intn(3) {
					s.step(r)
				}
			})
			if n%10 == 0 || n > 140 {
				if want := s.again(); !maps.Equal(s.got, want.got) {
					t.Fatalf("seed %d, commit %d:\ngot  %v\nwant %v", seed, n, s.got, want.got)
				}
			}
		}
	}
}
