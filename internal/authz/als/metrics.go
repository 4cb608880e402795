package als

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/internal/authz"
)

var (
	decisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_authz_decisions_total",
		Help: "Decisions that proxies told of: allowed; denied; or shadow_denied, which a policy in Shadow would have denied and was allowed.",
	}, []string{"verdict"})
	unheard = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_authz_unheard_total",
		Help: "What proxies wanted to tell and was not heard: hasty, decisions of a pod that tells too many at once; refused, streams of whoever did not prove who it is, or had too many.",
	}, []string{"reason"})
)

// Children, so that a decision looks none up.
var (
	allowed = decisions.WithLabelValues("allowed")
	denied  = decisions.WithLabelValues("denied")
	shadow  = decisions.WithLabelValues("shadow_denied")
	hasty   = unheard.WithLabelValues("hasty")
	refused = unheard.WithLabelValues("refused")
)

// Collectors are what Servers count.
func Collectors() []prometheus.Collector { return []prometheus.Collector{decisions, unheard} }

func heard(r authz.Record) {
	switch {
	case r.Verdict == authz.Denied:
		denied.Inc()
	case r.Shadow != nil && r.Shadow.Result == authz.Denied:
		shadow.Inc()
	default:
		allowed.Inc()
	}
}
