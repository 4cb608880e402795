// Package benchmarks runs Go benchmarks and turns what they print into figures.
package benchmarks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Run is one call of go test.
type Run struct {
	Package string // relative to the repository
	Bench   string // which benchmarks: a regular expression
	Time    string // for how long or how often each is run: as -benchtime
	Count   int    // samples of each
}

// Results are the samples of each unit of each benchmark, by the benchmark's name without
// "Benchmark" and the number of CPUs.
type Results map[string]map[string][]float64

// Measure runs the benchmarks in the repository at root.
func (r Run) Measure(ctx context.Context, root string) (Results, error) {
	test := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", r.Bench, "-benchtime", r.Time,
		"-count", strconv.Itoa(max(r.Count, 1)), "-timeout", "10m", "./"+r.Package)
	test.Dir = root
	var out bytes.Buffer
	test.Stdout, test.Stderr = &out, os.Stderr
	if err := test.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(test.Args, " "), err, &out)
	}
	return parse(out.String())
}

func parse(out string) (Results, error) {
	all := Results{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		if all[name] == nil {
			all[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read the benchmarks' output: %w in %q", err, line)
			}
			all[name][f[i+1]] = append(all[name][f[i+1]], v)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the benchmarks printed no figures:\n%s", out)
	}
	return all, nil
}
