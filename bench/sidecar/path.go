package sidecar

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/e2e/load"
)

// measured names the requests that count.
const measured = "measured"

// quantiles are those that are printed.
var quantiles = []struct {
	name string
	at   float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}

// path is one way from a caller to a shop, and the samples of its rounds.
type path struct {
	name   string
	caller corev1.Pod
	to     string // host
	envoys []int  // processes

	latency [3][]float64 // milliseconds, of each quantile
	cpu     []float64    // microseconds of all its Envoys for one request
	memory  []float64    // MB of one Envoy
	failed  float64
}

// usage is the sum over the path's Envoys.
func (p *path) usage() (sum process.Usage, err error) {
	for _, pid := range p.envoys {
		u, err := process.Of(pid)
		if err != nil {
			return sum, err
		}
		sum.CPUSeconds += u.CPUSeconds
		sum.ResidentMB += u.ResidentMB
	}
	return sum, nil
}

// add takes the samples of one round. Latency counts from the moment when a request was begun: how
// late the load's own clock was is not the path's.
func (p *path) add(results []load.Result, cpuSeconds, memory float64) error {
	var took []float64
	for _, r := range results {
		if r.Failed != "" {
			p.failed++
		} else if r.Step == measured {
			took = append(took, float64((r.Took-r.Late).Microseconds())/1e3)
		}
	}
	if len(took) == 0 {
		return errors.New("no request was answered")
	}
	slices.Sort(took)
	for i, q := range quantiles {
		p.latency[i] = append(p.latency[i], took[int(q.at*float64(len(took)-1))])
	}
	if n := len(p.envoys); n > 0 {
		p.cpu = append(p.cpu, cpuSeconds/float64(len(took))*1e6)
		p.memory = append(p.memory, memory/float64(n))
	}
	return nil
}

// figures compares each path with the first, which has nothing in between.
func figures(rate int, paths []*path) (all []figure.Figure) {
	at := fmt.Sprintf(", %d requests per second", rate)
	for i, q := range quantiles {
		direct := figure.Figure{Samples: paths[0].latency[i]}.Median()
		for _, p := range paths {
			f := figure.Figure{Name: p.name + at + ": " + q.name, Unit: "ms", Samples: p.latency[i]}
			if p != paths[0] {
				f.Beside = []string{fmt.Sprintf("%+.2f ms to a direct connection, same run", f.Median()-direct)}
			}
			all = append(all, f)
		}
	}
	for _, p := range paths[1:] {
		all = append(all,
			figure.Figure{Name: p.name + at + ": CPU of Envoy for one request, all together", Unit: "µs", Samples: p.cpu},
			figure.Figure{Name: p.name + at + ": RSS of one Envoy", Unit: "MB", Samples: p.memory})
	}
	for _, p := range paths {
		all = append(all, figure.Figure{Name: p.name + at + ": failed requests", Samples: []float64{p.failed}, Beside: []string{"aim: 0"}})
	}
	return all
}
