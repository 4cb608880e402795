package envoy

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
)

// unresolved names no Cluster: requests that a rule sends to it are answered 500.
const unresolved = "unresolved"

// RouteConfiguration holds nothing but where its virtual hosts come from, so that a change of one
// route does not resend the others. Envoy waits for at least one virtual host.
func RouteConfiguration(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name:             name,
		Vhds:             &routev3.Vhds{ConfigSource: adsUntilAnswered()},
		ValidateClusters: wrapperspb.Bool(false),
		// A backend's filters have the last word over its rule's.
		MostSpecificHeaderMutationsWins: true,
	}
}

// VirtualHost is one domain's routes in order of precedence; without any it answers 404. It carries
// the resource's full name, for by it Envoy removes a virtual host again.
func VirtualHost(v mesh.VirtualHost) *routev3.VirtualHost {
	host := &routev3.VirtualHost{Name: v.Name(), Domains: []string{v.Domain}}
	for _, c := range candidates(v.Rules) {
		host.Routes = append(host.Routes, route(v, c))
	}
	return host
}

func route(v mesh.VirtualHost, c candidate) *routev3.Route {
	rule := c.rule
	r := &routev3.Route{Name: routeName(c), Match: c.routeMatch()}
	to := redirectOf(rule.Filters)
	switch {
	case rule.Fail != 0:
		r.Action = answer(rule.Fail)
	case to != nil:
		setHeaders(r, editsOf(rule.Filters))
		r.Action = redirect(v, c, to)
	case len(rule.Backends) == 0:
		r.Action = answer(http.StatusInternalServerError)
	default:
		setHeaders(r, editsOf(rule.Filters))
		addCORS(r, rule.Filters)
		r.Action = forward(c)
	}
	return r
}

// routeName appears in access logs and statistics.
func routeName(c candidate) string {
	o := c.rule.Origin
	return fmt.Sprintf("httproute/%s/%s/%s/%d", o.Namespace, o.Name,
		cmp.Or(o.RuleName, strconv.Itoa(o.Index)), c.index)
}

func answer(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

func setHeaders(r *routev3.Route, e edits) {
	r.RequestHeadersToAdd, r.RequestHeadersToRemove = e.setRequest, e.removeRequest
	r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = e.setResponse, e.removeResponse
}

func forward(c candidate) *routev3.Route_Route {
	action := &routev3.RouteAction{
		Timeout:               timeout(c.rule.Timeouts),
		RetryPolicy:           retryPolicy(c.rule.Retry, c.rule.Timeouts),
		RequestMirrorPolicies: mirrors(c.rule.Mirrors),
	}
	setDestination(action, c.rule)
	rewrite(action, c)
	return &routev3.Route_Route{Route: action}
}

func setDestination(action *routev3.RouteAction, rule *mesh.Rule) {
	only := rule.Backends[0]
	if len(rule.Backends) == 1 && rule.Unresolved == 0 && len(only.Filters) == 0 {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: only.Cluster}
		return
	}
	split := &routev3.WeightedCluster{}
	for _, b := range rule.Backends {
		split.Clusters = append(split.Clusters, share(b))
	}
	if rule.Unresolved > 0 {
		split.Clusters = append(split.Clusters, share(mesh.Backend{Cluster: unresolved, Weight: rule.Unresolved}))
		action.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: split}
}

func share(b mesh.Backend) *routev3.WeightedCluster_ClusterWeight {
	e := editsOf(b.Filters)
	weight := &routev3.WeightedCluster_ClusterWeight{
		Name:                    b.Cluster,
		Weight:                  wrapperspb.UInt32(b.Weight),
		RequestHeadersToAdd:     e.setRequest,
		RequestHeadersToRemove:  e.removeRequest,
		ResponseHeadersToAdd:    e.setResponse,
		ResponseHeadersToRemove: e.removeResponse,
	}
	if e.host != "" {
		weight.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: e.host}
	}
	return weight
}

func rewrite(action *routev3.RouteAction, c candidate) {
	if host := editsOf(c.rule.Filters).host; host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
	for _, f := range c.rule.Filters {
		if f.URLRewrite != nil {
			to := newPath(c, f.URLRewrite.Path)
			action.PrefixRewrite, action.RegexRewrite = to.prefix, to.regex
		}
	}
}

func mirrors(all []mesh.Mirror) []*routev3.RouteAction_RequestMirrorPolicy {
	var policies []*routev3.RouteAction_RequestMirrorPolicy
	for _, m := range all {
		policies = append(policies, &routev3.RouteAction_RequestMirrorPolicy{
			Cluster:                       m.Cluster,
			RuntimeFraction:               &corev3.RuntimeFractionalPercent{DefaultValue: fraction(m)},
			DisableShadowHostSuffixAppend: true, // the copy is of the request as it is
		})
	}
	return policies
}

// fraction is a Mirror's share of requests in millionths, Envoy's finest unit.
func fraction(m mesh.Mirror) *typev3.FractionalPercent {
	share := uint64(m.Numerator) * 1_000_000 / max(uint64(m.Denominator), 1)
	return &typev3.FractionalPercent{
		Numerator:   uint32(min(share, 1_000_000)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}
