package gateway

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/gateway"
)

// workload is the pods of one Deployment, and the process of each on this machine. There are none
// where the cluster runs elsewhere.
type workload struct {
	pods []corev1.Pod
	pids []int
}

func (b *bench) pods(ctx context.Context, namespace string, labels client.MatchingLabels, command string) (workload, error) {
	var list corev1.PodList
	if err := b.List(ctx, &list, client.InNamespace(namespace), labels); err != nil {
		return workload{}, fmt.Errorf("list the pods of %s: %w", command, err)
	}
	var w workload
	for _, pod := range list.Items {
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		w.pods = append(w.pods, pod)
		if pid, err := process.InPod(string(pod.UID), command); err == nil {
			w.pids = append(w.pids, pid)
		} else {
			b.say("not measured: %v", err)
		}
	}
	if len(w.pods) == 0 {
		return w, fmt.Errorf("no pod of %s runs in namespace %s", command, namespace)
	}
	return w, nil
}

// usage is the sum over the processes of a workload.
func (w workload) usage() (sum process.Usage, err error) {
	for _, pid := range w.pids {
		u, err := process.Of(pid)
		if err != nil {
			return sum, err
		}
		sum.CPUSeconds += u.CPUSeconds
		sum.ResidentMB += u.ResidentMB
		sum.PeakMB += u.PeakMB
	}
	return sum, nil
}

// forgetPeak has the peaks of a workload count from now on.
func (w workload) forgetPeak() error {
	for _, pid := range w.pids {
		if err := process.ForgetPeak(pid); err != nil {
			return err
		}
	}
	return nil
}

// spent is what was used so far.
type spent struct {
	operator, proxy float64 // CPU seconds; of one proxy
	bytes           float64 // that one proxy has read from the operator
}

func (b *bench) spent(ctx context.Context) (s spent, err error) {
	operator, err := b.operator.usage()
	if err != nil {
		return s, err
	}
	proxies, err := b.proxies.usage()
	if err != nil {
		return s, err
	}
	for _, pod := range b.proxies.pods {
		n, err := b.read(ctx, pod)
		if err != nil {
			return s, err
		}
		s.bytes += n / float64(len(b.proxies.pods))
	}
	s.operator, s.proxy = operator.CPUSeconds, proxies.CPUSeconds/float64(max(len(b.proxies.pids), 1))
	return s, nil
}

const readBytes = `envoy_cluster_upstream_cx_rx_bytes_total{envoy_cluster_name="xds"} `

// read is how many bytes a proxy has read from the operator.
func (b *bench) read(ctx context.Context, pod corev1.Pod) (float64, error) {
	stats, err := b.Clients.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, strconv.Itoa(gateway.StatsPort), envoy.StatsPath, nil).DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the statistics of pod %s: %w", pod.Name, err)
	}
	for line := range strings.Lines(string(stats)) {
		if value, found := strings.CutPrefix(line, readBytes); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("pod %s has no statistic %s", pod.Name, readBytes)
}

// scale adds the many routes and tells what that took.
func (b *bench) scale(ctx context.Context) ([]figure.Figure, error) {
	b.say("add %d routes on hostnames of their own", b.Routes)
	before, err := b.operator.usage()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := b.fill(ctx, 0, b.Routes, own); err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := b.operator.usage()
	if err != nil {
		return nil, err
	}
	envoys, err := b.proxies.usage()
	if err != nil {
		return nil, err
	}
	resting, err := b.atRest(ctx)
	if err != nil {
		return nil, err
	}
	row := func(name, unit string, value float64, beside ...string) figure.Figure {
		return figure.Figure{Name: fmt.Sprintf("%d routes: %s", b.Routes, name), Unit: unit, Samples: []float64{value}, Beside: beside}
	}
	return []figure.Figure{
		row("created, serving and accepted after", "s", took.Seconds(), figure.Published("Istio 2 s, kgateway 12 s, Envoy Gateway 23 s")),
		row("operator's CPU to take them in", "CPU s", after.CPUSeconds-before.CPUSeconds, figure.Published("Envoy Gateway 57.9 s for 10 → 1,000")),
		row("operator's CPU at rest", "% of a core", resting*100),
		row("operator's RSS", "MB", after.ResidentMB, figure.Published("Envoy Gateway 263 MB")),
		row("operator's RSS at its peak", "MB", after.PeakMB),
		row("operator's RSS before", "MB", before.ResidentMB),
		row("one Envoy's RSS", "MB", envoys.ResidentMB/float64(max(len(b.proxies.pids), 1)), figure.Published("Envoy Gateway's proxy 131 MB")),
	}, nil
}

// rest is for how long the operator is watched while nothing changes.
const rest = 5 * time.Second

// atRest is how many cores the operator uses while nothing changes.
func (b *bench) atRest(ctx context.Context) (float64, error) {
	before, err := b.operator.usage()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(rest):
	}
	after, err := b.operator.usage()
	return (after.CPUSeconds - before.CPUSeconds) / rest.Seconds(), err
}
