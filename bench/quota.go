package main

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/bench/benchmarks"
	"github.com/weft-mesh/weft/bench/figure"
)

// quota measures what a decision about a global limit costs: in the table of buckets, beside a map of
// golang.org/x/time/rate.Limiters behind a lock, and over the wire.
func quota(ctx context.Context, root string) (all []figure.Figure, err error) {
	table, err := benchmarks.Run{Package: "internal/quota", Bench: "^Benchmark(Decide|Limiters)$", Time: "1s", Count: 5}.Measure(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, users := range []string{"1user", "50000users"} {
		of := figure.Figure{Name: "internal/quota Decide, " + users, Unit: "ns", Samples: table["Decide/"+users]["ns/op"]}
		beside := figure.Figure{Samples: table["Limiters/"+users]["ns/op"]}.Median()
		of.Beside = []string{
			fmt.Sprintf("a map of rate.Limiters behind a lock, same run: %.0f ns, %.2f times that", beside, beside/of.Median()),
			fmt.Sprintf("%.0f allocations", one(table["Decide/"+users], "allocs/op")),
		}
		all = append(all, of)
	}
	wire, err := benchmarks.Run{Package: "internal/quota/rls", Bench: "^Benchmark(Question|Answer)$", Time: "1s", Count: 5}.Measure(ctx, root)
	if err != nil {
		return nil, err
	}
	answer := figure.Figure{Samples: wire["Answer"]["ns/op"]}.Median()
	asked := figure.Figure{Name: "internal/quota/rls a question by gRPC and TLS, client and server", Unit: "µs", Samples: scaled(wire["Question"]["ns/op"], 1e-3)}
	asked.Beside = []string{fmt.Sprintf("to read it, decide and answer is %.1f µs of that; the rest is gRPC's", answer/1e3)}
	return append(all, asked), nil
}
