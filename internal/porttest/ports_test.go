package porttest

import (
	"net"
	"slices"
	"testing"
)

// TestFree: what is taken is not given, by whomever it is, and nothing is given twice.
func TestFree(t *testing.T) {
	next := first + (looked.Load()+1)%count
	other, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(next)})
	if err != nil {
		t.Skipf("port %d is in use: %v", next, err)
	}
	defer other.Close()
	if err := reserve(next + 1); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(Free(t, 2), Free(t, 1))
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != 3 || slices.Contains(got, next) || slices.Contains(got, next+1) {
		t.Errorf("with %d and %d taken, gives %v", next, next+1, got)
	}
}
