package mesh

import (
	"cmp"
	"math"
	"slices"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/internal/incr"
)

// RetryBudget bounds the retries that are under way to a Cluster at once, in one proxy.
type RetryBudget struct {
	Percent uint32 // of the requests that are under way, 0 to 100
	Least   uint32 // retries are allowed however few requests there are
}

// What Gateway API gives a retryConstraint that says nothing else.
const (
	DefaultRetryPercent = 20
	DefaultLeastRetries = 10
)

// UsualLeastRetries is of a Service without one. It has room for what 300 requests per second send again, and wait
// for, in the tenths of a second in which most of its pods have ended and no proxy has heard of it.
const UsualLeastRetries = 50

// trafficServices are the keys of the Services that a policy is about.
func trafficServices(p *gwx.XBackendTrafficPolicy) (out []string) {
	for _, t := range p.Spec.TargetRefs {
		if k := key(p.Namespace, string(t.Name)); aboutService(t) && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// eldestTrafficPolicy is the policy that is about a Service, the oldest if there are several; nil: none.
func (m *Mesh) eldestTrafficPolicy(q *incr.Query, service string) (holds *gwx.XBackendTrafficPolicy) {
	for _, k := range m.trafficPoliciesOn.Get(q, service) {
		if p, ok := m.XBackendTrafficPolicies.Get(q, k); ok {
			holds = elder(holds, p)
		}
	}
	return holds
}

// trafficPolicy is the policy that holds for a Service; nil: none, or one that cannot hold as written.
func (m *Mesh) trafficPolicy(q *incr.Query, service string) *gwx.XBackendTrafficPolicy {
	p := m.eldestTrafficPolicy(q, service)
	if p == nil || !badTraffic(p).OK() {
		return nil
	}
	return p
}

// badTraffic says what keeps a policy from holding.
func badTraffic(p *gwx.XBackendTrafficPolicy) Verdict {
	for i, t := range p.Spec.TargetRefs {
		if !aboutService(t) {
			return wrong(gwv1.PolicyReasonInvalid, "%s names a %s of group %q: only a Service of the core group can have an XBackendTrafficPolicy", targetField(i), t.Kind, t.Group)
		}
	}
	if s := p.Spec.SessionPersistence; s != nil {
		if bad := badSession(s, "spec.sessionPersistence"); !bad.OK() {
			return Verdict{string(gwv1.PolicyReasonInvalid), bad.Message}
		}
	}
	return Verdict{}
}

// retryBudget is what the policy of a Service says of retries; nil: nothing.
func (m *Mesh) retryBudget(q *incr.Query, service string) *RetryBudget {
	p := m.trafficPolicy(q, service)
	if p == nil || p.Spec.RetryConstraint == nil {
		return nil
	}
	return budgetOf(p.Spec.RetryConstraint)
}

// budgetOf puts a constraint into a proxy's terms. It counts retries by the second; a proxy, how many are
// under way at once. Retries that take no longer than a second each reach a rate with as many at once.
func budgetOf(c *gwx.RetryConstraint) *RetryBudget {
	out := &RetryBudget{Percent: DefaultRetryPercent, Least: DefaultLeastRetries}
	if c.Budget != nil && c.Budget.Percent != nil {
		out.Percent = uint32(min(max(*c.Budget.Percent, 0), 100))
	}
	if r := c.MinRetryRate; r != nil && (r.Count != nil || r.Interval != nil) {
		count, interval := *cmp.Or(r.Count, new(DefaultLeastRetries)), time.Second
		if r.Interval != nil {
			if d, err := time.ParseDuration(string(*r.Interval)); err == nil && d > 0 {
				interval = d
			}
		}
		out.Least = uint32(min(math.Ceil(float64(max(count, 0))/interval.Seconds()), mostLeastRetries))
	}
	return out
}

// mostLeastRetries is above what a proxy can have under way.
const mostLeastRetries = 100_000

// stricter is what holds where requests go to Services with different budgets.
func stricter(a, b *RetryBudget) *RetryBudget {
	if a == nil || b != nil && (b.Percent < a.Percent || b.Percent == a.Percent && b.Least < a.Least) {
		return b
	}
	return a
}
