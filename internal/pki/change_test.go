package pki

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"
)

// shore is a mesh of two ServiceAccounts, each with one proxy, seen while its root changes. Whoever
// acts on it may do so at any time, or be late.
type shore struct {
	wanted string
	signed string // the issuer whose probe was answered last
	state  State  // as written down
	told   State  // as the proxies were told last
	issued [2]string
	proxy  [2]proxy
}

// proxy is what a proxy holds, and acknowledged.
type proxy struct {
	roots string // one letter each
	leaf  string
}

func from(name string) Issuer { return Issuer{"cert-manager.io", "ClusterIssuer", name} }

func letters(roots []Root) (s string) {
	for _, r := range roots {
		s += string(r)
	}
	return s
}

// served is the leaf that a proxy is to be given: what does not hang from a trusted root is not.
func (s shore) served(i int) string {
	if slices.Contains(s.told.Trusted, Root(s.issued[i])) {
		return s.issued[i]
	}
	return s.proxy[i].leaf
}

func (s shore) observe() Observation {
	o := Observation{Wanted: from(s.wanted), Told: s.told.Serial}
	if s.signed == s.wanted {
		o.Roots = []Root{Root(s.wanted)}
	}
	for i := range s.proxy {
		if s.proxy[i] != (proxy{letters(s.told.Published()), s.served(i)}) {
			o.Proxies = append(o.Proxies, fmt.Sprint("proxy ", i))
		}
		if s.told.Serial != s.state.Serial || !slices.Contains(s.told.Keep, Root(s.served(i))) || s.issued[i] != s.told.Target.Name {
			o.Accounts = append(o.Accounts, fmt.Sprint("account ", i))
		}
	}
	return o
}

// acts are what may happen next. The operator has nothing in its memory but what is written down, so
// that to stop it and start another at any time is no act of its own.
func (s shore) acts(issuers string) (next []shore) {
	act := func(do func(n *shore)) {
		n := s
		if do(&n); !reflect.DeepEqual(n, s) {
			next = append(next, n)
		}
	}
	for _, c := range issuers {
		act(func(n *shore) { n.wanted = string(c) })
	}
	act(func(n *shore) { n.signed = n.wanted })
	act(func(n *shore) { n.state = Next(n.state, n.observe()) })
	act(func(n *shore) { n.told = n.state })
	for i := range s.proxy {
		act(func(n *shore) {
			if n.told.Phase != Waiting {
				n.issued[i] = n.told.Issuer.Name
			}
		})
		act(func(n *shore) { n.proxy[i] = proxy{letters(n.told.Published()), n.served(i)} })
	}
	return next
}

// broken says which proxy refuses which.
func (s shore) broken() string {
	for i, p := range s.proxy {
		for j, peer := range s.proxy {
			if p.roots != "" && peer.leaf != "" && !slices.Contains([]byte(p.roots), peer.leaf[0]) {
				return fmt.Sprintf("proxy %d, which trusts %q, refuses the certificate of proxy %d by %q", i, p.roots, j, peer.leaf)
			}
		}
	}
	return ""
}

// key is the shore without the absolute counts of changes.
func (s shore) key() string {
	same := s.state.Serial == s.told.Serial
	s.state.Serial, s.told.Serial, s.state.Retired, s.told.Retired = 0, 0, 0, 0
	return fmt.Sprintf("%+v %t", s, same)
}

// arrives says whether everybody who does their part brings a change to its end.
func (s shore) arrives() bool {
	for range 40 {
		s.signed = s.wanted
		s.state = Next(s.state, s.observe())
		s.told = s.state
		for i := range s.proxy {
			s.issued[i] = s.told.Issuer.Name
			s.proxy[i] = proxy{letters(s.told.Published()), s.served(i)}
		}
	}
	return s.state.Phase == Steady && s.state.Issuer == from(s.wanted) && letters(s.state.Published()) == s.wanted &&
		s.proxy[0] == proxy{s.wanted, s.wanted} && s.proxy[1] == s.proxy[0]
}

// TestEveryChangeOfRoot goes through all that can happen with two issuers, in any order: no proxy ever
// refuses another, and every change can be brought to its end.
func TestEveryChangeOfRoot(t *testing.T) {
	first := shore{wanted: "a"}
	seen := map[string]bool{first.key(): true}
	phases := map[Phase]bool{}
	for queue := []shore{first}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		phases[s.state.Phase] = true
		if why := s.broken(); why != "" {
			t.Fatalf("%s in %+v", why, s)
		}
		if !s.arrives() {
			t.Fatalf("no way on from %+v", s)
		}
		for _, n := range s.acts("ab") {
			if k := n.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, n)
			}
		}
	}
	if len(phases) != 5 {
		t.Errorf("only the phases %v were met", phases)
	}
	t.Logf("%d situations", len(seen))
}

// TestManyMinds is the same by chance, with three issuers.
func TestManyMinds(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		s := shore{wanted: "a"}
		for range 300 {
			next := s.acts("abc")
			s = next[r.Intn(len(next))]
			if why := s.broken(); why != "" {
				t.Fatalf("seed %d: %s in %+v", seed, why, s)
			}
		}
		if !s.arrives() {
			t.Fatalf("seed %d: no way on from %+v", seed, s)
		}
	}
}

// TestStateIsWrittenDown: what is read is what was written, and what somebody spoilt is not taken for
// an empty state.
func TestStateIsWrittenDown(t *testing.T) {
	s := State{Serial: 7, Phase: Distributing, Issuer: from("a"), Target: from("b"), Keep: []Root{"b"}, Trusted: []Root{"a"}, Incoming: []Root{"b"}}
	cm := s.ConfigMap()
	if got, err := ParseState(cm); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("read %+v, %v", got, err)
	}
	if cm.Data["ca.crt"] != "ab" {
		t.Errorf("the roots beside it are %q", cm.Data["ca.crt"])
	}
	for _, spoilt := range []string{"", "{", `{"phase": "Steady"}`} {
		cm.Data["state"] = spoilt
		if got, err := ParseState(cm); err == nil {
			t.Errorf("%q was read as %+v", spoilt, got)
		}
	}
}

func TestWaitingFor(t *testing.T) {
	o := Observation{Proxies: []string{"shop/web-0"}, Accounts: []string{"shop/api"}}
	for phase, want := range map[Phase][]string{
		Waiting: nil, Steady: nil, Distributing: {"shop/web-0"}, Switching: {"shop/web-0", "shop/api"}, Retiring: {"shop/web-0"},
	} {
		if got := (State{Phase: phase}).WaitingFor(o); !slices.Equal(got, want) {
			t.Errorf("%q waits for %v", phase, got)
		}
	}
}

// TestRetired counts the changes that withdrew a root, from when every proxy has been told, and nothing
// else: not the first root, not one more, not another issuer of the same root.
func TestRetired(t *testing.T) {
	var s State
	passes := func(wanted string, roots string, until Phase, retired uint64) {
		t.Helper()
		var all []Root
		for _, r := range roots {
			all = append(all, Root(r))
		}
		for step := 0; step == 0 || s.Phase != until; step++ {
			if step > 4 {
				t.Fatalf("towards %s by %s it never is %s: %+v", roots, wanted, until, s)
			}
			s = Next(s, Observation{Wanted: from(wanted), Roots: all, Told: s.Serial})
		}
		if s.Retired != retired {
			t.Errorf("towards %s by %s, %s: %d retired, not %d", roots, wanted, until, s.Retired, retired)
		}
	}
	passes("a", "a", Steady, 0)
	passes("also a", "a", Steady, 0)
	passes("also a", "ab", Steady, 0)
	passes("b", "b", Retiring, 0)
	passes("b", "b", Steady, 1)
	passes("c", "c", Retiring, 1)
	passes("b", "b", Switching, 1) // b was to go, and stays; c goes, which was used
	passes("b", "b", Steady, 2)
	passes("d", "d", Retiring, 2)
	passes("e", "e", Steady, 3) // b and d at once
	passes("e", "e", Steady, 3)
}
