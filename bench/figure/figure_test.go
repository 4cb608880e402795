package figure_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/bench/figure"
)

func TestPrint(t *testing.T) {
	var out strings.Builder
	err := figure.Print(&out, []figure.Figure{{Name: "time", Unit: "ms", Samples: []float64{3, 1234, 2}, Beside: []string{"aim: 3", figure.Published("other 5")}}})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || strings.Join(strings.Fields(lines[1]), " ") != "time 2 3 1234 ms 3 aim: 3" {
		t.Errorf("got\n%s", out.String())
	}
	if !strings.Contains(lines[2], "other 5 (published; another machine)") {
		t.Errorf("what others published is not marked in %q", lines[2])
	}
}
