package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/weft-mesh/weft/bench/benchmarks"
	"github.com/weft-mesh/weft/bench/figure"
)

// rules measures what deciding about a request costs Envoy, beside deciding nothing and asking an OPA; and what it costs
// to compile what is decided.
func rules(ctx context.Context, root string) (all []figure.Figure, err error) {
	got, err := benchmarks.Run{Package: "bench/rules", Bench: "^BenchmarkRequest$/^(none|turn|weft)$", Time: "5000x", Count: 5}.Measure(ctx, root)
	if err != nil {
		return nil, err
	}
	asked, err := benchmarks.Run{Package: "bench/rules", Bench: "^BenchmarkRequest$/^(opa|asked)$", Time: "300x", Count: 5}.Measure(ctx, root) // OPA takes 20 ms where rules are many
	if err != nil {
		return nil, err
	}
	maps.Copy(got, asked)
	for _, n := range []string{"10", "100", "1000"} {
		none := one(got["Request/none/"+n], "envoy-cpu-µs/op")
		for _, way := range []struct{ name, called string }{{"weft", "as Weft has them decided"}, {"turn", "one after the other"}, {"opa", "by an OPA that ext_authz asks"}, {"asked", "of a module that weft authz is asked about"}} {
			r, measured := got["Request/"+way.name+"/"+n]
			if !measured {
				continue
			}
			f := figure.Figure{Name: fmt.Sprintf("%s rules, %s: CPU of Envoy for one request", n, way.called), Unit: "µs", Samples: r["envoy-cpu-µs/op"]}
			f.Beside = []string{fmt.Sprintf("without rules, same run: %.3g µs", none), fmt.Sprintf("the request took %.3g µs, of which OPA evaluated %.3g µs", one(r, "ns/op")/1e3, one(r, "opa-µs/op"))}
			all = append(all, f)
		}
	}
	laws, err := benchmarks.Run{Package: "internal/core", Bench: "^BenchmarkLaws?(FromScratch|Compiled)?$", Time: "3x", Count: 3}.Measure(ctx, root)
	if err != nil {
		return all, err
	}
	served := func(name string, scale float64, unit string) string {
		return fmt.Sprintf("until proxies can be told of it: %.3g %s", one(laws[name], "ns/op")*scale, unit)
	}
	return append(all,
		figure.Figure{Name: "1,000 policies, 1,000 workloads, 100,000 pairs: all compiled", Unit: "s", Samples: scaled(laws["LawsCompiled"]["ns/op"], 1e-9), Beside: []string{"aim: under 6 s", served("LawsFromScratch", 1e-9, "s")}},
		figure.Figure{Name: "one of these policies edited, about 100 workloads", Unit: "ms", Samples: scaled(laws["LawCompiled"]["ns/op"], 1e-6), Beside: []string{"aim: under 10 ms", served("Law", 1e-6, "ms")}}), nil
}
