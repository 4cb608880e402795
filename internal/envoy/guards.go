package envoy

import (
	"bytes"
	"slices"
	"strconv"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/extauth"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// guardPlace is where the Routes of Gateways have requests guarded. Before it, in loginPlace, is who waits for a provider
// to refresh a session: of the filters in one place those that come after a wait are passed over.
const (
	loginPlace = "weft.logins"
	guardPlace = "weft.guards"
)

// guarded has the filter come by which requests to the pods of a sidecar are guarded. Until it has come, all are
// refused.
func guarded() *hcmv3.HttpFilter {
	until := &compositev3.Composite{Matcher: room.Always(room.Chain([]*corev3.TypedExtensionConfig{room.Refuse(503)}))}
	return &hcmv3.HttpFilter{Name: mesh.Guards, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovered(until)}}
}

// asked is the filter that asks weft authz about requests of which guards have said that they do not decide.
func asked() *hcmv3.HttpFilter { return authorization.Asking(mesh.Checks, mesh.CheckAuthority) }

// InboundGuards is that filter. Where nothing is guarded it lets all pass.
func InboundGuards(g mesh.InboundGuards) *corev3.TypedExtensionConfig {
	out := &compositev3.Composite{}
	if m := ofPorts(g); m != nil {
		out.Matcher = m
	}
	return &corev3.TypedExtensionConfig{Name: mesh.Guards, TypedConfig: wire.Any(out)}
}

// ofPorts tells ports apart by the one that a connection was for, before it was redirected.
func ofPorts(g mesh.InboundGuards) *xdsmatcherv3.Matcher {
	others := withLaw(g.Law, guards(g.Others, room.Service))
	if len(g.Ports) == 0 && len(others) == 0 {
		return nil
	}
	out := &xdsmatcherv3.Matcher{}
	if len(others) > 0 {
		out.OnNoMatch = room.Chain(others)
	}
	if len(g.Ports) == 0 {
		return out
	}
	ports := map[string]*xdsmatcherv3.Matcher_OnMatch{}
	for _, p := range g.Ports {
		ports[strconv.Itoa(int(p.Port))] = room.Chain(withLaw(p.Law, guards(p.By, room.Service)))
	}
	out.MatcherType = &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
		Input: &xdscorev3.TypedExtensionConfig{Name: "port", TypedConfig: wire.Any(&networkv3.DestinationPortInput{})},
		TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{
			ExactMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: ports},
		},
	}}
	return out
}

// guards are the filters that sections have of what was decided, in the order of the sections. Behind those is what says
// of the requests that get through what policies in Shadow would refuse, and last the filter that waits for an answer.
func guards(said []room.Decided, at room.Kind) (out []*corev3.TypedExtensionConfig) {
	var waits []*corev3.TypedExtensionConfig
	var would []room.Refusal
	for _, r := range policy.All {
		own := slices.DeleteFunc(slices.Clone(said), func(d room.Decided) bool { return d.Section != r.Name })
		switch {
		case !r.Guarded() || len(own) == 0:
		case r.Name == extauth.Section.Name:
			waits = r.Guard(own, at)
		case r.Name == oidc.Section.Name:
			_, after := oidc.Split(r.Guard(own, at))
			out = append(out, after...)
		default:
			out = append(out, r.Guard(own, at)...)
		}
		if len(own) > 0 && r.Try != nil {
			filters, refusals := r.Try(own, at)
			out, would = append(out, filters...), append(would, refusals...)
		}
	}
	return slices.Concat(out, outcome(said, would), waits)
}

// guardHost has the requests of a virtual host's Routes guarded, each as its rule is. What most of the rules have is
// written once, so that keys are not repeated for each Route.
func guardHost(host *routev3.VirtualHost, ruled []candidate) {
	chains := make([]*anypb.Any, len(ruled))
	for i, c := range ruled {
		if filters := withLaw(c.rule.Law, guards(c.rule.Guards, room.Gateway)); len(filters) > 0 {
			chains[i] = room.Override(room.Always(room.Chain(filters)))
		}
		if filters := logins(c.rule.Guards); len(filters) > 0 {
			override(host.Routes[i], loginPlace, room.Override(room.Always(room.Chain(filters))))
		}
	}
	common := commonest(chains)
	for i, chain := range chains {
		switch {
		case chain == nil:
		case common != nil && bytes.Equal(chain.Value, common.Value):
			host.TypedPerFilterConfig = map[string]*anypb.Any{guardPlace: common}
		default:
			override(host.Routes[i], guardPlace, chain)
		}
	}
	addLogins(host, ruled)
}

// commonest is the one that most Routes have; nil if some have none.
func commonest(chains []*anypb.Any) (common *anypb.Any) {
	uses := map[string]int{}
	for _, chain := range chains {
		if chain == nil {
			return nil
		}
		text := string(chain.Value)
		if uses[text]++; common == nil || uses[text] > uses[string(common.Value)] {
			common = chain
		}
	}
	return common
}

// logins are the filters by which people log in.
func logins(said []room.Decided) []*corev3.TypedExtensionConfig {
	own := slices.DeleteFunc(slices.Clone(said), func(d room.Decided) bool { return d.Section != oidc.Section.Name })
	r, is := policy.ByName(oidc.Section.Name)
	if !is || len(own) == 0 {
		return nil
	}
	filters, _ := oidc.Split(r.Guard(own, room.Gateway))
	return filters
}

func override(r *routev3.Route, place string, chain *anypb.Any) {
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[place] = chain
}
