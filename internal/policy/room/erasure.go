package room

import (
	"reflect"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/quota"
)

// Room is the section as one of all.
func (s Section[S]) Room() Room {
	out := Room{
		Name: s.Name, On: s.On, Shadow: s.Shadow,
		Has:     func(spec *v1alpha1.MeshPolicySpec) bool { return s.Of(spec) != nil },
		Contest: s.contest, Decide: s.decide,
		Filter: s.Filter, Fits: s.fits,
		OwnRetries: func(d Decided) bool { return s.OwnRetries != nil && s.OwnRetries(d.Says.(*S)) },
		IsApart:    func(d Decided) bool { return s.IsApart != nil && s.IsApart(d.Says.(*S)) },
		Problem:    s.problem,
		OnlyRequests: func(d Decided) string {
			if s.Traffic.OnlyRequests == nil {
				return ""
			}
			return s.Traffic.OnlyRequests(d.Says.(*S))
		},
		Until: s.until, Refers: s.refers, Gateways: s.Gateways,
		Callers: func(spec *v1alpha1.MeshPolicySpec) bool {
			return s.Callers != nil && s.Of(spec) != nil && s.Callers(s.Of(spec))
		},
	}
	out.Claims = func(spec *v1alpha1.MeshPolicySpec) string {
		if says := s.Of(spec); says != nil && s.Traffic.Claims != nil {
			return s.Traffic.Claims(says)
		}
		return ""
	}
	s.upstream(&out)
	if s.Traffic.Request != nil {
		out.Request = func(d Decided, r *routev3.Route) { s.Traffic.Request(d.Says.(*S), r) }
	}
	s.narrowing(&out)
	if s.Traffic.Referring != nil {
		out.Request = func(d Decided, r *routev3.Route) {
			s.Traffic.Referring(s.of(d), d.Referents, r)
		}
	}
	if s.Traffic.Shared != nil {
		out.Shared = func(said []Decided, at Port) proto.Message { return s.Traffic.Shared(s.each(said), at) }
	}
	if s.Traffic.Asking != nil {
		out.Asking = func(said []Decided, at Port) proto.Message { return s.Traffic.Asking(s.each(said), at) }
		out.Quotas = func(spec *v1alpha1.MeshPolicySpec) []quota.Limit {
			if says := s.Of(spec); says != nil {
				return s.Traffic.Quotas(says)
			}
			return nil
		}
	}
	s.guarding(&out)
	if s.Traffic.Apart != nil {
		out.Apart = func(d Decided) proto.Message { return s.Traffic.Apart(s.of(d), d.Referents) }
	}
	if s.Traffic.Entering != nil {
		out.Entering = func(d Decided, shared string, r *routev3.Route) { s.Traffic.Entering(s.of(d), shared, r) }
	}
	return out
}

// upstream gives a Room what shapes Clusters and their endpoints.
func (s Section[S]) upstream(out *Room) {
	if s.Traffic.Upstream != nil {
		out.Upstream = func(d Decided, c *clusterv3.Cluster) { s.Traffic.Upstream(d.Says.(*S), c) }
	}
	if s.Traffic.Arrange != nil {
		out.Arrange = func(d Decided, from Locality, groups []Group) []Share {
			return s.Traffic.Arrange(d.Says.(*S), from, groups)
		}
	}
	if s.Traffic.Default != nil {
		out.Default = func(svc *corev1.Service) (Decided, bool) {
			says := s.Traffic.Default(svc)
			return Decided{Section: s.Name, Says: says}, says != nil
		}
	}
	if s.Traffic.ByLabels != nil {
		out.ByLabels = func(d Decided) []string { return s.Traffic.ByLabels(d.Says.(*S)) }
	}
}

// guarding gives a Room what guards requests; all of its policies hold beside each other.
func (s Section[S]) guarding(out *Room) {
	if s.Guarding.Guard != nil {
		out.Guard, out.Collide = s.guard, s.Guarding.Collide
		out.Contest, out.Decide = s.beside, s.alone
		s.reads(out)
	}
	if s.Guarding.Identify != nil {
		out.Identify = s.identify
	}
}

// narrowing gives a Room what narrows rules.
func (s Section[S]) narrowing(out *Room) {
	if s.Traffic.Match != nil {
		out.Match = func(d Decided, m *routev3.RouteMatch) { s.Traffic.Match(s.of(d), m) }
	}
	if s.Traffic.Takes != nil {
		out.Takes = func(d Decided, there Proxy) bool { return s.Traffic.Takes(d.Says.(*S), there) }
	}
	if s.Traffic.States != nil {
		out.States = func(d Decided, there Proxy) []*filterstatev3.FilterStateValue {
			return s.Traffic.States(s.of(d), there)
		}
	}
	if s.Traffic.Idle != nil {
		out.Idle = func(spec *v1alpha1.MeshPolicySpec, entrances []Kind) string {
			return s.Traffic.Idle(s.Of(spec), entrances)
		}
	}
}

func (s Section[S]) each(said []Decided) (written []Written[S]) {
	for _, d := range said {
		written = append(written, s.of(d))
	}
	return written
}

func (s Section[S]) of(d Decided) Written[S] {
	return Written[S]{Policy: d.Policy, Level: d.Level, Says: d.Says.(*S), Rule: d.Rule, Claims: d.Claims, Apart: d.Apart, Shadow: d.Shadow, Law: d.Law}
}

func (s Section[S]) problem(spec *v1alpha1.MeshPolicySpec, on Kind, part bool) string {
	says := s.Of(spec)
	if says == nil || s.Problem == nil {
		return ""
	}
	return s.Problem(says, on, part)
}

func (s Section[S]) fits(d Decided, protocol string) bool {
	switch {
	case s.Traffic.Upstream == nil:
		return false
	case s.Fits != nil:
		return s.Fits(d.Says.(*S), protocol)
	}
	return s.Bytes || protocol == "http1" || protocol == "http2"
}

func (s Section[S]) until(spec *v1alpha1.MeshPolicySpec) time.Time {
	if says := s.Of(spec); says != nil && s.Until != nil {
		return s.Until(says)
	}
	return time.Time{}
}

func (s Section[S]) written(entries []Entry) []Written[S] {
	out := make([]Written[S], len(entries))
	for i, e := range entries {
		out[i] = Written[S]{Policy: e.Policy, Level: e.Level, Says: s.Of(e.Spec)}
	}
	return out
}

func (s Section[S]) decide(entries []Entry) Decided {
	holds := s.Decide(s.written(entries))
	return Decided{Section: s.Name, Policy: holds.Policy, Says: holds.Says}
}

func (s Section[S]) contest(entries []Entry) (holds int, others []bool) {
	written := s.written(entries)
	holds = s.Holds(written)
	for _, w := range written {
		others = append(others, !reflect.DeepEqual(w.Says, written[holds].Says))
	}
	return holds, others
}
