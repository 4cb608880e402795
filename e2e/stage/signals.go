package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// Labels are those of a series; one that is wanted empty must be absent.
type Labels map[string]string

// series is one of a scrape.
type series struct {
	name   string
	labels Labels
	value  float64
}

// Scrape is what proxies say at their port for Prometheus.
type Scrape struct {
	Size int // bytes of text, of all proxies
	all  []series
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// Scrape asks pods' proxies, from here. The pods must run on this machine.
func (s *Scene) Scrape(pods ...corev1.Pod) (all Scrape) {
	s.t.Helper()
	for _, pod := range pods {
		text, err := statistics(s.t.Context(), pod.Status.PodIP)
		must(s.t, err)
		all.Size += len(text)
		all.read(text)
	}
	return all
}

func statistics(ctx context.Context, ip string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(ip, strconv.Itoa(sidecar.StatsPort)) + "/stats/prometheus"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", url, response.Status)
	}
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func (s *Scrape) read(text string) {
	for line := range strings.Lines(text) {
		parts := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil {
			continue // a comment
		}
		one := series{name: parts[1], labels: Labels{}}
		for _, pair := range labelPair.FindAllStringSubmatch(parts[2], -1) {
			one.labels[pair[1]] = pair[2]
		}
		if value, err := strconv.ParseFloat(parts[3], 64); err == nil {
			one.value = value
			s.all = append(s.all, one)
		}
	}
}

// Sum adds up the series of that name that have these labels.
func (s Scrape) Sum(name string, labels Labels) (sum float64) {
	for _, one := range s.all {
		if one.name == name && one.has(labels) {
			sum += one.value
		}
	}
	return sum
}

// Of are the series of that name, to print.
func (s Scrape) Of(name string) string {
	var out strings.Builder
	for _, one := range s.all {
		if one.name == name {
			fmt.Fprintf(&out, "%v %v\n", one.labels, one.value)
		}
	}
	return out.String()
}

func (s series) has(labels Labels) bool {
	for name, want := range labels {
		if s.labels[name] != want {
			return false
		}
	}
	return true
}

// Proxies are the pods of a Gateway's proxies.
func (g *Gateway) Proxies() []corev1.Pod {
	g.scene.t.Helper()
	var all corev1.PodList
	must(g.scene.t, g.scene.List(g.scene.t.Context(), &all, client.InNamespace(g.scene.Namespace),
		client.MatchingLabels{"gateway.networking.k8s.io/gateway-name": g.Name}))
	return all.Items
}

// Log is what a container of a pod has written.
func (s *Scene) Log(pod corev1.Pod, container string) string {
	s.t.Helper()
	text, err := s.Clients.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(s.t.Context())
	must(s.t, err)
	return string(text)
}

// AccessLog are the lines of JSON in a log.
func AccessLog(log string) (lines []map[string]any) {
	for line := range strings.Lines(log) {
		fields := map[string]any{}
		if json.Unmarshal([]byte(line), &fields) == nil && fields["reporter"] != nil {
			lines = append(lines, fields)
		}
	}
	return lines
}
