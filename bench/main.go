// Command bench measures Weft's ADS server and prints its figures beside those of the
// floor: the cheapest possible server on the same machine, in the same run, under the same
// load. One endpoint of one of 1,000 services changes, and every stream sees it.
//
// Quote CPU seconds and bytes first: they hold on a busy machine. Times hold only where
// the column "other" (cores busy with neither server nor load) is below 0.3.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/bench/world"
)

var (
	sizes    = flag.String("streams", "100,500,2000", "numbers of streams to measure with")
	services = flag.Int("services", 1000, "services, each with a cluster and two endpoints")
	changes  = flag.Int("changes", 5, "changes to measure; the median is printed")
	change   = flag.String("change", "endpoint", "endpoint, or route for the whole table")
)

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
type bench struct{ folder string }

func main() {
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := bench{folder}
	for _, name := range []string{"floor", "xds", "adsload"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, name), "github.com/weft-mesh/weft/bench/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	fmt.Printf("one %s of %d services changes; TLS 1.3 and a token on both; medians of %d\n", *change, *services, *changes)
	fmt.Println("streams  server  last ms  CPU s   kB sent  resources  RSS MB  other   connect CPU s  connect MB")
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("streams: %w", err)
		}
		if err := b.compare(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// compare measures both servers with n streams and prints their figures and the ratio.
func (b bench) compare(ctx context.Context, n int) error {
	var medians [2]figures
	for i, server := range []string{"floor", "xds"} {
		phases, err := b.measure(ctx, server, n)
		if err != nil {
			return err
		}
		m := median(phases)
		medians[i] = m
		fmt.Printf("%7d  %-6s  %7.1f  %6.4f  %7.1f  %9.0f  %6.0f  %5.2f  %13.2f  %10.1f\n", n, server, m.LastMs, m.ServerCPU,
			m.Bytes/1e3, m.Resources, m.ServerMB, m.OtherCores, phases[0].ServerCPU, phases[0].Bytes/1e6)
	}
	floor, weft := medians[0], medians[1]
	fmt.Printf("%7d  ratio   %7.2f  %6.2f  %7.2f  %9.2f  %6.2f\n", n, weft.LastMs/floor.LastMs, weft.ServerCPU/floor.ServerCPU,
		weft.Bytes/floor.Bytes, weft.Resources/floor.Resources, weft.ServerMB/floor.ServerMB)
	return nil
}

// measure runs a server and the load against it, and returns the connect phase and the changes.
func (b bench) measure(ctx context.Context, server string, n int) ([]figures, error) {
	addr, ctl, roots := port(), port(), filepath.Join(b.folder, server+".pem")
	s := exec.CommandContext(ctx, filepath.Join(b.folder, server), "-addr", addr, "-ctl", ctl, "-roots", roots, "-services", strconv.Itoa(*services))
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
		"-tls-ca", roots, "-tls-server-name", world.ServerName, "-token", "bench-{i}", "-iters", strconv.Itoa(*changes),
		"-trigger-http", "http://"+ctl+"/"+*change+"?iter={iter}", "-marker", markers[*change][0], "-marker-type", markers[*change][1])
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

// median is that of each figure over the changes.
func median(phases []figures) figures {
	of := func(get func(figures) float64) float64 {
		var all []float64
		for _, p := range phases[1:] {
			all = append(all, get(p))
		}
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
func port() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
