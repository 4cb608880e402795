package check

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	checks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_authz_checks_total",
		Help: "Questions of proxies about requests that they do not decide on: allowed, denied; or without an answer, so that the proxy refuses them: refused, of whoever did not prove who it is; busy, as too many were asked at once; slow, as OPA took too long; unreadable.",
	}, []string{"answer"})
	took = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "weft_authz_check_duration_seconds",
		Help:    "How long OPA took for an answer.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5},
	})
)

// Collectors are what Servers count.
func Collectors() []prometheus.Collector { return []prometheus.Collector{checks, took} }

func answered(allowed bool, in time.Duration) {
	took.Observe(in.Seconds())
	if allowed {
		checks.WithLabelValues("allowed").Inc()
		return
	}
	checks.WithLabelValues("denied").Inc()
}

func failed(why string) { checks.WithLabelValues(why).Inc() }
