package envoy

import (
	"fmt"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/admissioncontrol"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// shapeCluster has the sections of policies say their part of a Cluster.
func shapeCluster(c *clusterv3.Cluster, policies []room.Decided) {
	for _, d := range policies {
		if r, ok := policy.ByName(d.Section); ok && !d.Ended {
			r.Upstream(d, c)
		}
	}
}

// shapeRoute has the sections of policies say their part of a Route of a rule.
func shapeRoute(r *routev3.Route, v mesh.VirtualHost, rule *mesh.Rule) {
	for _, d := range rule.Policies {
		section, ok := policy.ByName(d.Section)
		if !ok || d.Ended {
			continue
		}
		if section.Request != nil {
			section.Request(d, r)
		}
		if section.Shared != nil {
			mark(r, d)
		}
		if section.Entering != nil {
			d.Rule = rule.RuleID()
			section.Entering(d, v.Shared(d.Section), r)
		}
	}
}

// narrow has the sections of policies take requests away from a Route.
func narrow(m *routev3.RouteMatch, policies []room.Decided) {
	for _, d := range policies {
		if r, ok := policy.ByName(d.Section); ok && policy.Narrows(d) {
			r.Match(d, m)
		}
	}
}

// mark tells a section's shared filter, and who counts what it does, which policy holds for a Route.
func mark(r *routev3.Route, d room.Decided) {
	if r.Metadata == nil {
		r.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	}
	key := structpb.NewStringValue(d.Policy)
	r.Metadata.FilterMetadata[room.Mark(d.Section)] = &structpb.Struct{Fields: map[string]*structpb.Value{room.MarkedBy: key, d.Policy: key}}
}

// Shared is a filter that the Routes of one port share. It is a resource of its own, so that what it has
// counted outlives a change of those.
func Shared(s mesh.Shared) *corev3.TypedExtensionConfig {
	out := &corev3.TypedExtensionConfig{Name: s.Name}
	if r, ok := policy.ByName(s.Section); ok {
		out.TypedConfig = wire.Any(r.Shared(s.Says, s.Port))
	}
	return out
}

// Quota is the filter that asks the quota service for the Routes of one port.
func Quota(s mesh.Shared) *corev3.TypedExtensionConfig {
	out := &corev3.TypedExtensionConfig{Name: s.Name}
	if r, ok := policy.ByName(s.Section); ok {
		out.TypedConfig = wire.Any(r.Asking(s.Says, s.Port))
	}
	return out
}

// sectionFilters are those of the sections of policies, in their order: all that Routes configure, and of
// those that they share the ones of some sections, and those of single policies.
func sectionFilters(of room.Kind, at shared) (out []*hcmv3.HttpFilter) {
	for _, r := range policy.All {
		if r.Filter != nil && (of == room.Gateway || !r.Gateways) {
			out = append(out, r.Filter)
		}
		if slices.Contains(at.sections, r.Name) {
			out = append(out, discoveredFilter(mesh.SharedName(r.Name, at.routes), r.Shared(nil, room.Port{})))
		}
		if at.counted && r.Asking != nil {
			out = append(out, discoveredFilter(mesh.QuotaName(at.routes), r.Asking(nil, room.Port{})))
		}
		for _, a := range at.apart {
			if a.Decided.Section == r.Name {
				out = append(out, apartFilter(r, a))
			}
		}
	}
	return out
}

// apartFilter is disabled but where a Route enters it. The listener does not wait for it: Routes do.
func apartFilter(r room.Room, a mesh.Apart) *hcmv3.HttpFilter {
	a.Decided.Referents = nil
	source := discovered(r.Apart(a.Decided))
	source.ApplyDefaultConfigWithoutWarming = true
	return &hcmv3.HttpFilter{Name: a.Name, Disabled: true, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: source}}
}

// Apart is a filter of one policy; nil while something that it is made of is awaited.
func Apart(a mesh.Apart) *corev3.TypedExtensionConfig {
	r, ok := policy.ByName(a.Decided.Section)
	if !ok || r.Apart == nil || a.Awaited {
		return nil
	}
	return &corev3.TypedExtensionConfig{Name: a.Name, TypedConfig: wire.Any(r.Apart(a.Decided))}
}

// shared is what the Routes of one RouteConfiguration share: the filters of sections, whether there is one
// that asks the quota service, and the filters of single policies.
type shared struct {
	routes   string
	sections []string
	counted  bool
	apart    []mesh.Apart
}

// discoveredFilter is a filter that is a resource of its own.
func discoveredFilter(name string, until proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovered(until)}}
}

// turnedAway counts, by the policy, what the shared filter of a section turns away.
func turnedAway(r reporter, to called, section string) *accesslogv3.AccessLog {
	name, when := "rate_limited_total", flagged("RL")
	if section == admissioncontrol.Section.Name {
		name, when = "admission_rejected_total", expression("response.code_details == '"+admissioncontrol.Details+"'")
	}
	by := tag("policy", fmt.Sprintf("%%METADATA(ROUTE:%s:%s)%%", room.Mark(section), room.MarkedBy))
	return signalLog(when, &statslogv3.Config{
		StatsScope: r.scope(to),
		Counters: []*statslogv3.Config_Counter{count(name, slices.Concat(
			[]*statslogv3.Config_Tag{tag("reporter", string(r)), by}, to.tags()))},
	})
}

// ownWord is what a rule says itself of what policies may say too: it holds in their place.
func ownWord(r *routev3.Route, rule *mesh.Rule) {
	action, t := r.GetRoute(), rule.Timeouts
	if action == nil {
		return
	}
	if t != nil && t.Request != nil {
		action.Timeout = timeout(t)
	}
	tries := t != nil && t.BackendRequest != nil
	switch {
	case rule.Retry != nil || action.RetryPolicy == nil:
		action.RetryPolicy = retryPolicy(rule.Retry, t)
	case tries:
		action.RetryPolicy.PerTryTimeout = bound(t.BackendRequest)
	}
	if rule.Retry != nil || tries {
		action.HedgePolicy = nil // by which an attempt would outlive what the rule gives it
	}
}
