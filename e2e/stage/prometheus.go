package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// PrometheusImage is what LoadPrometheus loads.
const PrometheusImage = "weft.local/prometheus:v3.13.3"

// LoadPrometheus loads into the local cluster a Prometheus that finds its targets by the API server.
// The first time, it is built.
func (s *Stage) LoadPrometheus(ctx context.Context) error {
	binary, err := s.Cluster(ctx, "tool", "prometheus")
	if err != nil {
		return err
	}
	return s.LoadBinary(ctx, PrometheusImage, binary)
}

// Sample is a series, and its value now.
type Sample struct {
	Labels Labels
	Value  float64
}

// Ask puts a query to the Prometheus at host:port.
func Ask(ctx context.Context, prometheus, query string) ([]Sample, error) {
	at := url.URL{Scheme: "http", Host: prometheus, Path: "/api/v1/query", RawQuery: url.Values{"query": {query}}.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric Labels
				Value  [2]any // time, and the number as text
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query %s: %s: %w", query, response.Status, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("query %s: %s", query, answer.Error)
	}
	var all []Sample
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", query, err)
		}
		all = append(all, Sample{r.Metric, value})
	}
	return all, nil
}

// Prometheus waits until the scene's Deployment prometheus has rolled out, and returns where it answers.
func (s *Scene) Prometheus() string {
	s.t.Helper()
	s.Rollout("prometheus")
	return net.JoinHostPort(s.Pod("prometheus").Status.PodIP, "9090")
}
