package envoy

import (
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// narrowFilter finds out of requests what Routes of rules that policies narrow ask for.
const narrowFilter = "weft.narrow"

// identifyPlace is where tokens are verified, before that, whose claims Routes ask for.
const identifyPlace = "weft.identify"

// narrowPlace is there for the requests to virtual hosts that configure it, before all other filters: the Route is
// chosen anew after it.
func narrowPlace() *hcmv3.HttpFilter {
	f := httpFilter(narrowFilter, &statev3.Config{ClearRouteCache: true})
	f.Disabled = true
	return f
}

// viewer is who has a virtual host.
func viewer(v mesh.VirtualHost) room.Proxy {
	return room.Proxy{Gateway: strings.HasPrefix(v.Routes, mesh.GatewayPrefix), At: v.At}
}

// takenBy are the rules by which the proxies that have a virtual host take anything.
func takenBy(v mesh.VirtualHost) []mesh.Rule {
	there := viewer(v)
	return slices.DeleteFunc(slices.Clone(v.Rules), func(r mesh.Rule) bool {
		return slices.ContainsFunc(r.Policies, func(d room.Decided) bool {
			section, ok := policy.ByName(d.Section)
			return ok && !d.Ended && section.Takes != nil && !section.Takes(d, there)
		})
	})
}

// findOut has the states found out, before their Route is chosen, that rules are narrowed by, and the tokens verified.
// What a rule guards its requests by comes after that, as of the Route that is chosen then.
//
// Envoy puts the filters of a request together by the Route that it has before that, and none where it has none. So
// those that any of the Routes has are there for all, where they do nothing of themselves, and there is a Route for
// what no other takes.
func findOut(host *routev3.VirtualHost, v mesh.VirtualHost, rules []mesh.Rule) {
	states, tokens := statesOf(rules, viewer(v)), tokensOf(rules)
	if len(states)+len(tokens) == 0 {
		return
	}
	if host.TypedPerFilterConfig == nil {
		host.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	if len(tokens) > 0 {
		host.TypedPerFilterConfig[identifyPlace] = room.Override(room.Always(room.Chain(tokens)))
	}
	host.TypedPerFilterConfig[narrowFilter] = wire.Any(&statev3.Config{OnRequestHeaders: states})
	there := wire.Any(&routev3.FilterConfig{Config: &anypb.Any{}})
	for _, r := range host.Routes {
		for filter := range r.TypedPerFilterConfig {
			_, is := host.TypedPerFilterConfig[filter]
			if !is && filter != corsFilter && filter != sessionFilter { // which are there always
				host.TypedPerFilterConfig[filter] = there
			}
		}
	}
	host.Routes = append(host.Routes, &routev3.Route{
		Name:   "none",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: answer(http.StatusNotFound),
	})
}

// statesOf are, each once, the states that rules are narrowed by.
func statesOf(rules []mesh.Rule, there room.Proxy) (out []*filterstatev3.FilterStateValue) {
	for _, r := range rules {
		for _, d := range r.Policies {
			section, ok := policy.ByName(d.Section)
			if !ok || d.Ended || section.States == nil {
				continue
			}
			for _, s := range section.States(d, there) {
				known := func(other *filterstatev3.FilterStateValue) bool { return other.GetObjectKey() == s.GetObjectKey() }
				if !slices.ContainsFunc(out, known) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// tokensOf are, each once, the filters that verify tokens by whose claims rules go.
func tokensOf(rules []mesh.Rule) (out []*corev3.TypedExtensionConfig) {
	seen := map[string]bool{}
	for _, r := range rules {
		for _, t := range r.Tokens {
			section, ok := policy.ByName(t.By[0].Section)
			if !ok || section.Identify == nil || seen[t.Key] {
				continue
			}
			seen[t.Key] = true
			if f := section.Identify(t.By, t.Key); f != nil {
				out = append(out, f)
			}
		}
	}
	return out
}
