package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Count is what became of the requests of one step.
type Count struct {
	Step      string
	Sent      int
	OK        int
	Failed    int // without those abandoned
	Abandoned int // failed, and an application had accepted them before it ended itself
	P50, P99  time.Duration
	Longest   time.Duration
}

// Table counts results by step, in the order in which the steps began. The ids in abandoned are
// requests of which an application said that it ended with them in hand.
func Table(results []Result, abandoned map[string]bool) []Count {
	bySteps := map[string][]Result{}
	var order []string
	slices.SortFunc(results, func(a, b Result) int { return a.Due.Compare(b.Due) })
	for _, r := range results {
		if _, known := bySteps[r.Step]; !known {
			order = append(order, r.Step)
		}
		bySteps[r.Step] = append(bySteps[r.Step], r)
	}
	var table []Count
	for _, step := range order {
		table = append(table, count(step, bySteps[step], abandoned))
	}
	return table
}

func count(step string, results []Result, abandoned map[string]bool) Count {
	c := Count{Step: step, Sent: len(results)}
	var took []time.Duration
	for _, r := range results {
		took = append(took, r.Took)
		switch {
		case r.Failed == "":
			c.OK++
		case abandoned[r.ID]:
			c.Abandoned++
		default:
			c.Failed++
		}
	}
	slices.Sort(took)
	c.P50, c.P99, c.Longest = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return c
}

// Print writes the table for people, with a line of sums.
func Print(table []Count) string {
	var out strings.Builder
	line := func(step string, sent, ok, failed, abandoned any, p50, p99, longest any) {
		fmt.Fprintf(&out, "%-34s %8v %8v %7v %10v %9v %9v %9v\n", step, sent, ok, failed, abandoned, p50, p99, longest)
	}
	line("step", "sent", "ok", "failed", "abandoned", "p50", "p99", "longest")
	var sum Count
	for _, c := range table {
		line(c.Step, c.Sent, c.OK, c.Failed, c.Abandoned, brief(c.P50), brief(c.P99), brief(c.Longest))
		sum.Sent, sum.OK = sum.Sent+c.Sent, sum.OK+c.OK
		sum.Failed, sum.Abandoned = sum.Failed+c.Failed, sum.Abandoned+c.Abandoned
	}
	line("all", sum.Sent, sum.OK, sum.Failed, sum.Abandoned, "", "", "")
	return out.String()
}

func brief(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

// Failures are the results that count as failed, oldest first.
func Failures(results []Result, abandoned map[string]bool) []Result {
	var failed []Result
	for _, r := range results {
		if r.Failed != "" && !abandoned[r.ID] {
			failed = append(failed, r)
		}
	}
	return failed
}
