package mesh

import (
	"slices"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Which domains a listener serves of a route: the table of Gateway API's hostname documentation.
func TestDomains(t *testing.T) {
	for _, c := range []struct {
		listener string
		route    []gwv1.Hostname
		want     []string
	}{
		{"", nil, []string{"*"}},
		{"shop.example", nil, []string{"shop.example"}},
		{"", []gwv1.Hostname{"shop.example", "*.example"}, []string{"shop.example", "*.example"}},
		{"*.example", []gwv1.Hostname{"shop.example", "a.b.example", "example", "other.test"}, []string{"shop.example", "a.b.example"}},
		{"shop.example", []gwv1.Hostname{"*.example"}, []string{"shop.example"}},
		{"*.a.example", []gwv1.Hostname{"*.example"}, []string{"*.a.example"}},
		{"*.example", []gwv1.Hostname{"*.a.example"}, []string{"*.a.example"}},
		{"*.a.example", []gwv1.Hostname{"*.b.example"}, nil},
		{"shop.example", []gwv1.Hostname{"myshop.example"}, nil},
	} {
		if got := domains(c.listener, c.route); !slices.Equal(got, c.want) {
			t.Errorf("listener %q, route %q: got %q, want %q", c.listener, c.route, got, c.want)
		}
	}
}

// The intersection does not depend on the order, and both contain it.
func FuzzIntersect(f *testing.F) {
	f.Add("*.example", "shop.example")
	f.Add("*.a.example", "*.example")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, ok := intersect(a, b)
		y, again := intersect(b, a)
		if ok != again || (ok && !(contains(x, y) && contains(y, x))) {
			t.Fatalf("%q ∩ %q = %q %v, the other way %q %v", a, b, x, ok, y, again)
		}
		if ok && !(contains(a, x) && contains(b, x)) {
			t.Fatalf("%q ∩ %q = %q, which one of them does not contain", a, b, x)
		}
	})
}

// What is read from an issuer annotation, written again, is read the same.
func FuzzParseIssuer(f *testing.F) {
	f.Add("ClusterIssuer/public")
	f.Add("letsencrypt")
	f.Add("Issuer/")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseIssuer(s)
		if err != nil {
			return
		}
		if again, err := ParseIssuer(i.Kind + "/" + i.Name); err != nil || again != i {
			t.Fatalf("%q: %v, again %v %v", s, i, again, err)
		}
	})
}
