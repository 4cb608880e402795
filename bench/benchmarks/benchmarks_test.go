package benchmarks

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse(`goos: linux
BenchmarkNewHost/VHDS/100-2   10   605.5 B/change   2.439 p50-ms
BenchmarkNewHost/VHDS/100-2   10   606.5 B/change   2.539 p50-ms
BenchmarkFromScratch/1000services   20   7500 ns/op
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	if s := got["NewHost/VHDS/100"]["p50-ms"]; !slices.Equal(s, []float64{2.439, 2.539}) {
		t.Errorf("p50-ms: %v", s)
	}
	if s := got["FromScratch/1000services"]["ns/op"]; !slices.Equal(s, []float64{7500}) {
		t.Errorf("a name without CPUs: %v in %v", s, got)
	}
	if _, err := parse("PASS\n"); err == nil {
		t.Error("output without figures is taken")
	}
}
