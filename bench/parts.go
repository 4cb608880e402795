package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weft-mesh/weft/bench/benchmarks"
	"github.com/weft-mesh/weft/bench/figure"
)

// core measures what one change costs the computation, and everything from scratch beside it.
func core(ctx context.Context, root string) (all []figure.Figure, err error) {
	for _, of := range []struct {
		folder, unit string
		changes      []string
	}{
		{"internal/incr", "services", []string{"EndpointChange"}},
		{"internal/core", "routes", []string{"EndpointChange", "RouteChange"}},
	} {
		quick, err := benchmarks.Run{Package: of.folder, Bench: "Change$", Time: "2000x", Count: 5}.Measure(ctx, root)
		if err != nil {
			return nil, err
		}
		scratch, err := benchmarks.Run{Package: of.folder, Bench: "FromScratch", Time: "3x", Count: 3}.Measure(ctx, root)
		if err != nil {
			return nil, err
		}
		for _, change := range of.changes {
			for _, size := range []string{"1000", "10000"} {
				all = append(all, perChange(of.folder, change, size+of.unit, quick, scratch)...)
			}
		}
	}
	return all, nil
}

// perChange is the time of one change and, where it is known, what it sends.
func perChange(folder, change, size string, quick, scratch benchmarks.Results) []figure.Figure {
	name := folder + " " + change + " at " + size
	time := figure.Figure{Name: name, Unit: "µs", Samples: scaled(quick[change+"/"+size]["ns/op"], 1e-3)}
	whole := figure.Figure{Samples: scaled(scratch["FromScratch/"+size]["ns/op"], 1e-3)}.Median()
	time.Beside = []string{fmt.Sprintf("from scratch, same run: %.1f ms, %.0f times that", whole/1e3, whole/time.Median())}
	all := []figure.Figure{time}
	if bytes := quick[change+"/"+size]["wire-B/op"]; len(bytes) > 0 {
		all = append(all, figure.Figure{Name: name + ": resources sent", Unit: "bytes", Samples: bytes})
	}
	return all
}

func scaled(samples []float64, by float64) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, s*by)
	}
	return out
}

// newHosts is how many hosts are added in each way, one after the other.
const newHosts = 30

// hosts measures the ways to tell Envoy of one hostname more.
func hosts(ctx context.Context, root string) (all []figure.Figure, err error) {
	got, err := benchmarks.Run{Package: "bench/hosts", Bench: "NewHost", Time: strconv.Itoa(newHosts) + "x", Count: 1}.Measure(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, way := range []string{"VHDS", "RDS", "SRDS"} {
		for _, size := range []string{"100", "1000", "5000"} {
			r := got["NewHost/"+way+"/"+size]
			f := figure.Figure{Name: fmt.Sprintf("Envoy, one host more than %s by %s: change → first 200", size, way), Unit: "ms", Of: newHosts}
			for _, of := range []string{"min-ms", "p50-ms", "max-ms"} {
				f.Samples = append(f.Samples, r[of]...)
			}
			f.Beside = []string{fmt.Sprintf("Envoy's CPU %.3g ms, %.0f bytes, RSS %.0f MB", one(r, "envoy-cpu-ms/change"), one(r, "B/change"), one(r, "envoy-MB"))}
			all = append(all, f)
		}
	}
	return all, nil
}

func one(r map[string][]float64, unit string) float64 {
	return figure.Figure{Samples: r[unit]}.Median()
}
