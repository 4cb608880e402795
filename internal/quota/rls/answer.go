package rls

import (
	"math"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/internal/quota"
)

var decisions = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "weft_quota_decisions_total",
	Help: "Questions of proxies about global rate limits, by what was answered: allowed; limited; unknown, which lets the request pass as nothing that the proxy may ask about is there; refused, as the proxy did not prove who it is.",
}, []string{"answer"})

// Children, so that a decision looks none up.
var (
	allowed = decisions.WithLabelValues("allowed")
	limited = decisions.WithLabelValues("limited")
	unknown = decisions.WithLabelValues("unknown")
	refused = decisions.WithLabelValues("refused")
)

// Collectors are what Servers count, and how many buckets a table has.
func Collectors(t *quota.Table) []prometheus.Collector {
	return []prometheus.Collector{decisions, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_quota_buckets",
		Help: "Buckets of global rate limits that this replica of the operator keeps. Those that are full are dropped when there are many.",
	}, func() float64 { return float64(t.Buckets()) })}
}

func count(a quota.Answer) {
	switch {
	case a.Refused:
		limited.Inc()
	case a.Counted == 0 && a.Unknown > 0:
		unknown.Inc()
	default:
		allowed.Inc()
	}
}

// The names of what callers are told, which are those of Envoy's own limits.
const (
	limitHeader     = "x-ratelimit-limit"
	remainingHeader = "x-ratelimit-remaining"
	resetHeader     = "x-ratelimit-reset"
	retryAfter      = "retry-after"
)

// told is an Answer as Envoy reads it. What callers are told is in headers, for one policy may tell them
// what another at the same port does not.
func told(a quota.Answer) *rlsv3.RateLimitResponse {
	out := &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK}
	reset := seconds(a.Nearest.Reset)
	if a.Refused {
		out.OverallCode = rlsv3.RateLimitResponse_OVER_LIMIT
		out.ResponseHeadersToAdd = append(out.ResponseHeadersToAdd, header(retryAfter, max(reset, 1)))
	}
	if a.Counted > 0 && a.Nearest.Told {
		out.ResponseHeadersToAdd = append(out.ResponseHeadersToAdd,
			header(limitHeader, a.Nearest.Size), header(remainingHeader, a.Nearest.Left), header(resetHeader, reset))
	}
	return out
}

func header(name string, value int) *corev3.HeaderValue {
	return &corev3.HeaderValue{Key: name, Value: strconv.Itoa(value)}
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
