// Package figure holds what was measured and what it is compared with, and prints both.
package figure

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// Figure is one thing that was measured, several times where it can be.
type Figure struct {
	Name    string
	Unit    string
	Samples []float64
	Of      int      // how many there were, where Samples are only the least, the middle and the most
	Beside  []string // what it is compared with: an aim, or another's figure
}

// Published marks a figure that its maker published: measured by others on another machine.
func Published(text string) string { return text + " (published; another machine)" }

// Median is the middle sample.
func (f Figure) Median() float64 {
	_, median, _ := f.spread()
	return median
}

func (f Figure) spread() (least, median, most float64) {
	if len(f.Samples) == 0 {
		return 0, 0, 0
	}
	s := slices.Sorted(slices.Values(f.Samples))
	return s[0], s[len(s)/2], s[len(s)-1]
}

// Print writes a table of figures. What a figure is compared with goes on lines of its own where
// there is more than one.
func Print(to io.Writer, figures []Figure) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmin\tmedian\tmax\tunit\tn\tcompared with")
	for _, f := range figures {
		least, median, most := f.spread()
		beside := append(f.Beside, "")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", f.Name, short(least), short(median), short(most), f.Unit, max(f.Of, len(f.Samples)), beside[0])
		for _, more := range beside[1:] {
			if more != "" {
				fmt.Fprintf(w, "\t\t\t\t\t\t%s\n", more)
			}
		}
	}
	return w.Flush()
}

// short keeps three digits.
func short(x float64) string {
	if x >= 100 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}
