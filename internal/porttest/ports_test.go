package porttest

import (
	"net"
	"slices"
	"testing"
)

// TestFree: what is taken is not given, by whomever it is, and nothing is given twice. The tests of other packages run
// beside this one and take ports too, so the two that it takes are those that it could get.
func TestFree(t *testing.T) {
	bound := taken(t, func(port uint32) error {
		other, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		if err == nil {
			t.Cleanup(func() { other.Close() })
		}
		return err
	})
	named := taken(t, reserve)
	looked.Store(min(bound, named) - first - 1) // Free looks at both
	got := slices.Concat(Free(t, 2), Free(t, 1))
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != 3 || slices.Contains(got, bound) || slices.Contains(got, named) {
		t.Errorf("with %d and %d taken, gives %v", bound, named, got)
	}
	if !slices.ContainsFunc(got, func(port uint32) bool { return port > min(bound, named) }) {
		t.Errorf("with %d and %d taken, never looked there: %v", bound, named, got)
	}
}

// taken is the first port, looking on from where this process is, that take could take.
func taken(t *testing.T, take func(port uint32) error) uint32 {
	for range count {
		if port := first + looked.Add(1)%count; take(port) == nil {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
