package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/bench/benchmarks"
	"github.com/weft-mesh/weft/bench/figure"
)

// changesOf are the benchmarks of the changes of one world, of two sizes, and of that world from
// scratch.
type changesOf struct {
	folder, unit, prefix string
	changes              []string
	times                string // how often each change is made, as -benchtime
	scratch              string // and the world
	count                int
}

// worlds are what the computation is measured with: remembered functions alone, a Gateway, a mesh.
var worlds = []changesOf{
	{"internal/incr", "services", "", []string{"EndpointChange"}, "2000x", "3x", 5},
	{"internal/core", "routes", "", []string{"EndpointChange", "RouteChange"}, "2000x", "3x", 5},
	{"internal/core", "services", "Mesh", []string{"Endpoint", "Pod", "Account", "Service", "Route", "Policy"}, "500x", "1x", 3},
}

// core measures what one change costs the computation, and everything from scratch beside it.
func core(ctx context.Context, root string) (all []figure.Figure, err error) {
	for _, w := range worlds {
		whole := w.prefix + "FromScratch"
		quick, err := benchmarks.Run{Package: w.folder, Bench: "^Benchmark" + w.prefix + "(" + strings.Join(w.changes, "|") + ")$", Time: w.times, Count: w.count}.Measure(ctx, root)
		if err != nil {
			return nil, err
		}
		scratch, err := benchmarks.Run{Package: w.folder, Bench: "^Benchmark" + whole + "$", Time: w.scratch, Count: 3}.Measure(ctx, root)
		if err != nil {
			return nil, err
		}
		for _, change := range w.changes {
			for _, size := range []string{"1000", "10000"} {
				at := "/" + size + w.unit
				all = append(all, perChange(w.folder+" "+w.prefix+change+" at "+size+w.unit, quick[w.prefix+change+at], scratch[whole+at])...)
			}
		}
	}
	return all, nil
}

// perChange is the time of one change and, where it is known, what it sends.
func perChange(name string, quick, scratch map[string][]float64) []figure.Figure {
	time := figure.Figure{Name: name, Unit: "µs", Samples: scaled(quick["ns/op"], 1e-3)}
	whole := figure.Figure{Samples: scaled(scratch["ns/op"], 1e-3)}.Median()
	time.Beside = []string{fmt.Sprintf("from scratch, same run: %.1f ms, %.0f times that", whole/1e3, whole/time.Median())}
	if len(quick["B/op"]) > 0 {
		time.Beside = append(time.Beside, fmt.Sprintf("%.1f kB allocated; from scratch %.0f MB", one(quick, "B/op")/1e3, one(scratch, "B/op")/1e6))
	}
	all := []figure.Figure{time}
	if bytes := quick["wire-B/op"]; len(bytes) > 0 {
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
