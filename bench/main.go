// Command bench measures Weft and prints each figure beside what it is compared with.
//
//	cores: what one commit costs   hosts: how hostnames are told to Envoy
//	streams: the ADS server        quota: decisions about global rate limits
//	rules: decisions about requests, by how many rules there are
//	gateway: a Gateway on a real cluster
//	attached, added, changed, scaled: the four measures of howardjohn/gateway-api-bench, on that cluster
//	sidecar: a request's way through sidecars, there too
//
// The last six need a cluster: that of KUBECONFIG, or the local one of `make cluster-up`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/gateway"
	"github.com/weft-mesh/weft/bench/sidecar"
	"github.com/weft-mesh/weft/bench/streams"
)

// limit bounds the whole run.
const limit = 45 * time.Minute

// part is one group of figures.
type part struct {
	name    string
	measure func(ctx context.Context, root string) ([]figure.Figure, error)
}

var (
	only    = flag.String("parts", "", "names of the parts to run, with commas; all by default")
	routes  = flag.Int("routes", 1000, "routes present, with hostnames of their own")
	changes = flag.Int("changes", 50, "changes of such routes, with none and with all present")
	sharing = flag.Bool("sharing", true, "measure routes that share a hostname")
	adding  = flag.Int("added", 3000, "routes added one by one")
	spaces  = flag.Int("namespaces", 50, "namespaces with 100 Services and routes each, under churn")
)

var parts = []part{
	{"core", core},
	{"hosts", hosts},
	{"quota", quota},
	{"rules", rules},
	{"streams", streams.Part{Sizes: []int{100, 500, 2000}, Services: 1000, Scopes: 1000, Changes: 5, Change: "endpoint", Progress: os.Stdout}.Measure},
	{"gateway", func(ctx context.Context, root string) ([]figure.Figure, error) {
		of := gateway.Part{Routes: *routes, Changes: *changes, Few: 15, Progress: os.Stdout}
		if *sharing {
			of.Sharing = []int{10, 100, 300, 1000}
		}
		return of.Measure(ctx, root)
	}},
	{"attached", gateway.Part{Routes: 1000, Progress: os.Stdout}.Attached},
	{"added", func(ctx context.Context, root string) ([]figure.Figure, error) {
		return gateway.Part{Routes: *adding, Progress: os.Stdout}.Added(ctx, root)
	}},
	{"changed", gateway.Part{Alternations: 300, Progress: os.Stdout}.Changed},
	{"scaled", func(ctx context.Context, root string) ([]figure.Figure, error) {
		return gateway.Part{Namespaces: *spaces, PerNamespace: 100, Churn: time.Minute, Progress: os.Stdout}.Scaled(ctx, root)
	}},
	{"sidecar", sidecar.Part{Rate: 1000, Rounds: 5, Long: 8 * time.Second, Progress: os.Stdout}.Measure},
}

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the parts in order. A part that fails does not keep the others from being printed.
func run(ctx context.Context, only []string) error {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	began, busy := time.Now(), load()
	var all []figure.Figure
	var failed []string
	for _, p := range parts {
		if len(only) > 0 && !slices.Contains(only, p.name) {
			continue
		}
		fmt.Printf("%s  %s\n", time.Now().UTC().Format("15:04:05"), p.name)
		figures, err := p.measure(ctx, root)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", p.name, err)
			failed = append(failed, p.name)
		}
		all = append(all, figures...)
	}
	fmt.Printf("\n%s, %d cores, %s, took %s; load of the machine before %s, after %s\n\n", began.UTC().Format("2006-01-02 15:04 UTC"),
		runtime.NumCPU(), runtime.Version(), time.Since(began).Round(time.Second), busy, load())
	if err := figure.Print(os.Stdout, all); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// load is how many processes wanted to run in the last minute, on average.
func load() string {
	averages, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(averages), " ")
	return first
}
