package loadbalancer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func newPool(t *testing.T) *Pool {
	t.Helper()
	pool, err := NewPool("10.242.0.0/29", "fd00:10:242::/120")
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func service(name string, families ...corev1.IPFamily) *corev1.Service {
	s := &corev1.Service{}
	s.Name, s.UID = name, types.UID(name)
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.IPFamilies = families
	return s
}

// settle applies the plan to the Services, as the API server would.
func settle(pool *Pool, services ...*corev1.Service) []Change {
	changes := pool.Plan(services)
	for _, change := range changes {
		change.Service.Status.LoadBalancer.Ingress = change.Ingress
	}
	return changes
}

func wantAddresses(t *testing.T, s *corev1.Service, want ...string) {
	t.Helper()
	if got := addresses(s.Status.LoadBalancer.Ingress); !slices.Equal(got, want) {
		t.Errorf("Service %s has addresses %v, want %v", s.Name, got, want)
	}
}

func TestPlanGivesEachFamilyAnAddress(t *testing.T) {
	pool := newPool(t)
	a, b := service("a", corev1.IPv4Protocol), service("b", corev1.IPv6Protocol, corev1.IPv4Protocol)
	settle(pool, a, b)
	wantAddresses(t, a, "10.242.0.1")
	wantAddresses(t, b, "fd00:10:242::2", "10.242.0.2")
	if changes := pool.Plan([]*corev1.Service{a, b}); len(changes) != 0 {
		t.Errorf("a second plan changes %d Services, want none", len(changes))
	}
}

func TestPlanKeepsAddressesOverRestart(t *testing.T) {
	a, b := service("a", corev1.IPv4Protocol), service("b", corev1.IPv4Protocol)
	settle(newPool(t), a, b)
	c := service("0-sorts-first", corev1.IPv4Protocol)
	settle(newPool(t), a, b, c)
	wantAddresses(t, a, "10.242.0.1")
	wantAddresses(t, b, "10.242.0.2")
	wantAddresses(t, c, "10.242.0.3")
}

func TestPlanWithStaleStatusDoesNotAllocateTwice(t *testing.T) {
	pool := newPool(t)
	a := service("a", corev1.IPv4Protocol)
	pool.Plan([]*corev1.Service{a}) // the status is not in the cache yet
	b := service("0-sorts-first", corev1.IPv4Protocol)
	settle(pool, a, b)
	wantAddresses(t, a, "10.242.0.1")
	wantAddresses(t, b, "10.242.0.2")
}

func TestPlanReusesAReleasedAddressLast(t *testing.T) {
	pool := newPool(t)
	a, b := service("a", corev1.IPv4Protocol), service("b", corev1.IPv4Protocol)
	settle(pool, a, b)
	c := service("c", corev1.IPv4Protocol)
	settle(pool, b, c)
	wantAddresses(t, b, "10.242.0.2")
	wantAddresses(t, c, "10.242.0.3")
	services := []*corev1.Service{b, c}
	for n := len(services); n < pool.size-2; n++ {
		services = append(services, service(fmt.Sprintf("d%03d", n), corev1.IPv4Protocol))
	}
	settle(pool, services...)
	e := service("e", corev1.IPv4Protocol)
	settle(pool, append(services, e)...)
	wantAddresses(t, e, "10.242.0.1")
}

func TestPlanKeepsAddressWhenServiceBecomesDualStack(t *testing.T) {
	pool := newPool(t)
	a := service("a", corev1.IPv4Protocol)
	settle(pool, a)
	a.Spec.IPFamilies = append(a.Spec.IPFamilies, corev1.IPv6Protocol)
	settle(pool, a)
	wantAddresses(t, a, "10.242.0.1", "fd00:10:242::1")
}

func TestPlanClearsServiceOfAnotherType(t *testing.T) {
	pool := newPool(t)
	a := service("a", corev1.IPv4Protocol)
	settle(pool, a)
	a.Spec.Type = corev1.ServiceTypeClusterIP
	settle(pool, a)
	wantAddresses(t, a)
}

func TestPlanIgnoresOtherClasses(t *testing.T) {
	class := "example.com/other"
	a := service("a", corev1.IPv4Protocol)
	a.Spec.LoadBalancerClass = &class
	a.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.7"}}
	if changes := settle(newPool(t), a); len(changes) != 0 {
		t.Errorf("the plan changes a Service of class %s", class)
	}
}

func TestPlanHonoursRequestedAddress(t *testing.T) {
	for _, tt := range []struct {
		name, wish, want, problem string
	}{
		{"free IPv4", "10.242.0.5", "10.242.0.5", ""},
		{"free IPv6", "fd00:10:242::5", "10.242.0.5", ""},
		{"in use", "10.242.0.1", "", "in use"},
		{"outside", "192.0.2.1", "", "outside the pools"},
		{"beyond the smaller pool", "fd00:10:242::99", "", "outside the pools"},
		{"first of the prefix", "10.242.0.0", "", "outside the pools"},
		{"no address", "nonsense", "", "outside the pools"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := newPool(t)
			settle(pool, service("holder", corev1.IPv4Protocol))
			holder, a := service("holder", corev1.IPv4Protocol), service("z", corev1.IPv4Protocol)
			a.Spec.LoadBalancerIP = tt.wish
			changes := settle(pool, holder, a)
			if tt.want != "" {
				wantAddresses(t, a, tt.want)
				return
			}
			wantAddresses(t, a)
			if problem := changes[len(changes)-1].Problem; !strings.Contains(problem, tt.problem) {
				t.Errorf("problem is %q, want it to contain %q", problem, tt.problem)
			}
		})
	}
}

// A Service that asks for one address after another has none while it asks for what it cannot get, and
// what it had is free.
func TestPlanFollowsTheWish(t *testing.T) {
	pool := newPool(t)
	a, b := service("a", corev1.IPv4Protocol), service("b", corev1.IPv4Protocol)
	for _, tt := range []struct{ wish, want, other string }{
		{"", "10.242.0.1", ""},
		{"192.0.2.1", "", "10.242.0.1"},
		{"10.242.0.1", "", "10.242.0.1"},
		{"10.242.0.5", "10.242.0.5", "10.242.0.5"},
		{"10.242.0.6", "10.242.0.6", "10.242.0.5"},
	} {
		a.Spec.LoadBalancerIP, b.Spec.LoadBalancerIP = tt.wish, tt.other
		services := []*corev1.Service{a}
		if tt.other != "" {
			services = append(services, b)
		}
		settle(pool, services...)
		if tt.want == "" {
			wantAddresses(t, a)
		} else {
			wantAddresses(t, a, tt.want)
		}
	}
	wantAddresses(t, b, "10.242.0.5")
}

func TestPlanSaysWhenThePoolIsEmpty(t *testing.T) {
	pool := newPool(t)
	var services []*corev1.Service
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		services = append(services, service(name, corev1.IPv4Protocol))
	}
	changes := settle(pool, services...)
	wantAddresses(t, services[5], "10.242.0.6")
	if last := changes[6]; last.Problem == "" || len(last.Ingress) != 0 {
		t.Errorf("the seventh Service of a pool of six got %v and problem %q", last.Ingress, last.Problem)
	}
}

func TestNewPoolRejects(t *testing.T) {
	for _, prefixes := range [][2]string{
		{"10.0.0.0", "fd00::/120"}, {"10.0.0.0/24", "x"}, {"fd00::/120", "fd00::/120"},
		{"10.0.0.0/24", "10.0.0.0/24"}, {"10.0.0.0/32", "fd00::/120"}, {"10.0.0.0/8", "fd00::/64"},
	} {
		if _, err := NewPool(prefixes[0], prefixes[1]); err == nil {
			t.Errorf("NewPool(%q, %q) succeeded", prefixes[0], prefixes[1])
		}
	}
}
