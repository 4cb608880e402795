package envoy

import (
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/wire"
)

// What policies in Shadow would refuse of what guards let through is said, by these themselves, in the metadata of each
// request: so loggers are the same whatever policies say, and no listener changes with them.
//
//	shadow_engine_result                 allowed or denied
//	shadow_effective_policy_id           the policy by which it would be denied; else the first of those that are tried
//	section_shadow_effective_policy_id   its section
//	rule_shadow_effective_policy_id      what of it; only where it would be denied
const (
	resultField = "shadow_engine_result"
	policyField = "shadow_effective_policy_id"
)

// outcome says which of what would be refused counts: the first.
func outcome(said []room.Decided, would []room.Refusal) []*corev3.TypedExtensionConfig {
	at := slices.IndexFunc(said, func(d room.Decided) bool { return d.Shadow })
	if at < 0 {
		return nil
	}
	return []*corev3.TypedExtensionConfig{
		namedFirst("section", said[at].Section),
		namedFirst("", said[at].Policy),
		counting("section", would, func(r room.Refusal) string { return r.Section }),
		counting("rule", would, func(r room.Refusal) string { return r.Rule }),
		counting("", would, func(r room.Refusal) string { return r.Policy }),
	}
}

// namedFirst says a name of all requests.
func namedFirst(name, of string) *corev3.TypedExtensionConfig {
	return room.Trying(name, &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{of: {
		Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}, Principals: []*rbacv3.Principal{{Identifier: &rbacv3.Principal_Any{Any: true}}},
	}}})
}

// counting says what is refused first, by one of its names.
func counting(name string, would []room.Refusal, called func(room.Refusal) string) *corev3.TypedExtensionConfig {
	rules := &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{}}
	var before []*rbacv3.Principal
	for i, r := range would {
		p := rules.Policies[called(r)]
		if p == nil {
			p = &rbacv3.Policy{Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}}
			rules.Policies[called(r)] = p
		}
		who := []*rbacv3.Principal{wire.Said(wire.Result(r.Filter), denied)}
		if r.By != "" {
			who = append(who, wire.Said(r.Filter+"_"+policyField, r.By))
		}
		p.Principals = append(p.Principals, &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: append(who, before...)}}})
		if i+1 < len(would) && would[i+1].Filter != r.Filter {
			before = append(before, &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: wire.Said(wire.Result(r.Filter), denied)}})
		}
	}
	return room.Trying(name, rules)
}

// inTrial is true of requests of which that would become, and that are none of the probes.
func inTrial(result string, probes []sidecar.Probe) *accesslogv3.AccessLogFilter {
	return allOf(ofMetadata(resultField, result), notAsked(probes))
}

func ofMetadata(field, value string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_MetadataFilter{
		MetadataFilter: &accesslogv3.MetadataFilter{Matcher: wire.Says(field, value), MatchIfKeyNotFound: wrapperspb.Bool(false)},
	}}
}

// shadowed is what a logger finds in the metadata of a request.
func shadowed(field string) string { return "%DYNAMIC_METADATA(" + wire.RBAC + ":" + field + ")%" }

// guardTrial is what policies in Shadow would refuse of the requests that guards let through: each tells itself which.
func guardTrial(r reporter, pods string) trial {
	t := trial{reporter: r, section: shadowed("section_" + policyField), policy: shadowed(policyField), pods: pods}
	if r == destination {
		t.more = []*statslogv3.Config_Tag{tag("source_principal", "%DOWNSTREAM_PEER_URI_SAN%")}
	} else {
		t.more = []*statslogv3.Config_Tag{tag("destination_principal", "%UPSTREAM_PEER_URI_SAN%"), tag("upstream_cluster", "%UPSTREAM_CLUSTER%")}
	}
	return t
}

// requestOutcomes count the requests about which policies in Shadow are.
func (s trial) requestOutcomes(to called) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{s.counter(to, inTrial(denied, s.asked)), s.letIn(to, inTrial(allowed, s.asked))}
}

// letIn counts what would be let in, with fewer labels: a label costs each listener some 500 bytes.
func (s trial) letIn(to called, when *accesslogv3.AccessLogFilter) *accesslogv3.AccessLog {
	tags := append([]*statslogv3.Config_Tag{tag("reporter", string(s.reporter)), tag("section", s.section), tag("policy", s.policy)}, to.tags()...)
	return signalLog(when, &statslogv3.Config{
		StatsScope: s.scope(to),
		Counters:   []*statslogv3.Config_Counter{count("shadow_allowed_total", tags)},
	})
}
