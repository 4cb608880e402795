// Package streams measures Weft's ADS server beside the floor: the cheapest possible server on
// the same machine, in the same run, under the same load. One endpoint of one of 1,000 services
// changes, and every stream sees it.
//
// Quote CPU seconds and bytes first: they hold on a busy machine. Times hold only where
// the column "other" (cores busy with neither server nor load) is below 0.3.
package streams

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/world"
)

// Part is what to measure.
type Part struct {
	Sizes    []int  // numbers of streams
	Services int    // each with a cluster and two endpoints
	Scopes   int    // of workloads, over those of namespaces, over one: as sidecars have them
	Changes  int    // of which each is a sample
	Change   string // "endpoint", or "route" for the whole table
	Progress io.Writer
}

// figures are what the load reports of one phase.
type figures struct {
	Phase      string
	LastMs     float64 `json:"last_ms"`
	Bytes      float64
	Resources  float64
	ServerCPU  float64 `json:"server_cpu_s"`
	ClientCPU  float64 `json:"client_cpu_s"`
	OtherCores float64 `json:"other_cores"`
	ServerMB   float64 `json:"server_rss_mb"`
}

// bench is a folder of programs under measurement.
type bench struct {
	Part
	folder string
}

// Measure runs both servers with each number of streams.
func (p Part) Measure(ctx context.Context, root string) ([]figure.Figure, error) {
	folder, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	b := bench{p, folder}
	for _, name := range []string{"floor", "xds", "adsload"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, name), "./bench/"+name)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	fmt.Fprintf(p.Progress, "one %s of %d services changes; TLS 1.3 and a token on both; medians of %d\n", p.Change, p.Services, p.Changes)
	fmt.Fprintln(p.Progress, "streams  server  last ms  CPU s   kB sent  resources  RSS MB  other   connect CPU s  connect MB")
	var all []figure.Figure
	for _, n := range p.Sizes {
		figures, err := b.compare(ctx, n)
		if err != nil {
			return nil, err
		}
		all = append(all, figures...)
	}
	return all, nil
}

// compare measures both servers with n streams, Weft's also with a scope for each workload, and
// prints their figures and the ratios.
func (b bench) compare(ctx context.Context, n int) ([]figure.Figure, error) {
	var changes [3][]figures
	for i, server := range []string{"floor", "xds", chained} {
		phases, err := b.measure(ctx, server, n)
		if err != nil {
			return nil, err
		}
		changes[i] = phases[1:]
		m := median(phases[1:])
		fmt.Fprintf(b.Progress, "%7d  %-6s  %7.1f  %6.4f  %7.1f  %9.0f  %6.0f  %5.2f  %13.2f  %10.1f\n", n, server, m.LastMs, m.ServerCPU,
			m.Bytes/1e3, m.Resources, m.ServerMB, m.OtherCores, phases[0].ServerCPU, phases[0].Bytes/1e6)
	}
	for i, of := range []string{"ratio", "chains/flat"} {
		was, is := median(changes[i]), median(changes[i+1])
		fmt.Fprintf(b.Progress, "%7d  %-6s  %7.2f  %6.2f  %7.2f  %9.2f  %6.2f\n", n, of, is.LastMs/was.LastMs, is.ServerCPU/was.ServerCPU,
			is.Bytes/was.Bytes, is.Resources/was.Resources, is.ServerMB/was.ServerMB)
	}
	return append(b.figures(n, changes[0], changes[1]), b.inScopes(n, changes[1], changes[2])...), nil
}

// chained is the server under the load of many scopes.
const chained = "chains"

// inScopes are the figures of many scopes, each beside that of one.
func (b bench) inScopes(n int, flat, chains []figures) (all []figure.Figure) {
	row := func(name, unit string, get func(figures) float64) {
		one := figure.Figure{Samples: samples(flat, get)}.Median()
		f := figure.Figure{Name: fmt.Sprintf("xDS, one %s changes, %d streams in %d scopes: %s", b.Change, n, b.Scopes, name), Unit: unit, Samples: samples(chains, get)}
		f.Beside = []string{fmt.Sprintf("one scope, same run: %.3g %s, ratio %.2f", one, unit, f.Median()/one)}
		all = append(all, f)
	}
	row("server CPU", "CPU ms", func(f figures) float64 { return f.ServerCPU * 1e3 })
	row("server RSS", "MB", func(f figures) float64 { return f.ServerMB })
	return all
}

// What istiod of August 2026 did under this load, one endpoint of 1,000 services changing: measured
// once with the same client. Its time includes the 100 ms for which it collects changes.
var (
	istiodCPU   = map[int]string{100: "31 CPU ms", 500: "114 CPU ms", 2000: "460 CPU ms"}
	istiodBytes = map[int]string{100: "57 kB", 500: "280 kB", 2000: "1120 kB"}
	istiodLast  = map[int]string{100: "131 ms", 500: "215 ms", 2000: "393 ms"}
	istiodRSS   = map[int]string{2000: "1637 MB"}
)

// figures are Weft's, each beside the floor's.
func (b bench) figures(n int, floor, weft []figures) []figure.Figure {
	row := func(name, unit string, get func(figures) float64, istiod map[int]string) figure.Figure {
		limit := figure.Figure{Samples: samples(floor, get)}.Median()
		f := figure.Figure{Name: fmt.Sprintf("xDS, one %s changes, %d streams: %s", b.Change, n, name), Unit: unit, Samples: samples(weft, get)}
		f.Beside = []string{fmt.Sprintf("floor, same run: %.3g %s, ratio %.2f", limit, unit, f.Median()/limit)}
		if other, known := istiod[n]; known && b.Change == "endpoint" {
			f.Beside = append(f.Beside, "istiod "+other+" (same load, earlier run on 2 cores)")
		}
		return f
	}
	return []figure.Figure{
		row("server CPU", "CPU ms", func(f figures) float64 { return f.ServerCPU * 1e3 }, istiodCPU),
		row("bytes sent", "kB", func(f figures) float64 { return f.Bytes / 1e3 }, istiodBytes),
		row("last stream", "ms", func(f figures) float64 { return f.LastMs }, istiodLast),
		row("server RSS", "MB", func(f figures) float64 { return f.ServerMB }, istiodRSS),
	}
}

// measure runs a server and the load against it, and returns the connect phase and the changes.
func (b bench) measure(ctx context.Context, server string, n int) ([]figures, error) {
	addr, err := port()
	if err != nil {
		return nil, err
	}
	ctl, err := port()
	if err != nil {
		return nil, err
	}
	roots := filepath.Join(b.folder, server+".pem")
	program, args := server, []string{"-addr", addr, "-ctl", ctl, "-roots", roots, "-services", strconv.Itoa(b.Services)}
	if server == chained {
		program, args = "xds", append(args, "-workloads", strconv.Itoa(b.Scopes))
	}
	s := exec.CommandContext(ctx, filepath.Join(b.folder, program), args...)
	s.Stderr = os.Stderr
	if err := s.Start(); err != nil {
		return nil, err
	}
	defer func() { s.Process.Kill(); s.Wait() }()
	if err := listening(ctx, ctl); err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	markers := map[string][2]string{"endpoint": {"{ipmark}", "eds"}, "route": {"rev-{iter}", "rds"}}
	load := exec.CommandContext(ctx, filepath.Join(b.folder, "adsload"), "-addr", addr, "-pid", strconv.Itoa(s.Process.Pid), "-n", strconv.Itoa(n),
		"-tls-ca", roots, "-tls-server-name", world.ServerName, "-token", "bench-{i}", "-iters", strconv.Itoa(b.Changes),
		"-trigger-http", "http://"+ctl+"/"+b.Change+"?iter={iter}", "-marker", markers[b.Change][0], "-marker-type", markers[b.Change][1])
	load.Stderr = os.Stderr
	out, err := load.Output()
	if err != nil {
		return nil, fmt.Errorf("load on %s: %w", server, err)
	}
	return parse(out)
}

func parse(out []byte) ([]figures, error) {
	var phases []figures
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var f figures
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("read the load's report: %w", err)
		}
		if f.Phase != "warmup" {
			phases = append(phases, f)
		}
	}
	if len(phases) < 2 {
		return nil, fmt.Errorf("the load reported no change")
	}
	return phases, nil
}

func samples(changes []figures, get func(figures) float64) (all []float64) {
	for _, c := range changes {
		all = append(all, get(c))
	}
	return all
}

// median is that of each figure over the changes.
func median(changes []figures) figures {
	of := func(get func(figures) float64) float64 {
		all := samples(changes, get)
		slices.Sort(all)
		return all[len(all)/2]
	}
	return figures{
		LastMs:     of(func(f figures) float64 { return f.LastMs }),
		Bytes:      of(func(f figures) float64 { return f.Bytes }),
		Resources:  of(func(f figures) float64 { return f.Resources }),
		ServerCPU:  of(func(f figures) float64 { return f.ServerCPU }),
		OtherCores: of(func(f figures) float64 { return f.OtherCores }),
		ServerMB:   of(func(f figures) float64 { return f.ServerMB }),
	}
}

// port is a free loopback address.
func port() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// listening waits until a server takes connections.
func listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
