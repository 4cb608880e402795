package envoy

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
)

// unresolved names no Cluster: requests that a rule sends to it are answered 500, or 503 if it is a
// GRPCRoute's.
const unresolved = "unresolved"

// RouteConfiguration holds nothing but where its virtual hosts come from, so that a change of one
// route does not resend the others. Envoy waits for at least one virtual host.
func RouteConfiguration(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name:             name,
		Vhds:             &routev3.Vhds{ConfigSource: adsUntilAnswered()},
		ValidateClusters: wrapperspb.Bool(false),
		// A backend sees the Host header as it came, with its port; only the choice ignores it.
		IgnorePortInHostMatching: true,
		ResponseHeadersToRemove:  []string{unsentHeader},
	}
}

// VirtualHost is one domain's routes in order of precedence; without any it answers 404. It carries
// the resource's full name, for by it Envoy removes a virtual host again.
func VirtualHost(v mesh.VirtualHost) *routev3.VirtualHost {
	host, rules := &routev3.VirtualHost{Name: v.Name(), Domains: []string{v.Domain}}, takenBy(v)
	for _, c := range candidates(rules) {
		host.Routes = append(host.Routes, route(v, c))
	}
	findOut(host, v, rules)
	return host
}

func route(v mesh.VirtualHost, c candidate) *routev3.Route {
	r := &routev3.Route{Name: routeName(c), Match: c.routeMatch()}
	to := redirectOf(c.rule.Filters)
	switch {
	case c.rule.Fail != 0:
		r.Action = answer(c.rule.Fail)
	case to != nil:
		setResponse(r, c.rule)
		addAuth(r, c.rule)
		r.Action = redirect(v, c, to)
	case len(c.rule.Backends) == 0:
		r.Action = answer(http.StatusInternalServerError)
	default:
		setResponse(r, c.rule)
		addCORS(r, c.rule.Filters)
		addAuth(r, c.rule)
		addSession(r, v, c)
		forward(r, c)
	}
	if c.rule.Fail == 0 {
		shapeRoute(r, v, c.rule)
		ownWord(r, c.rule)
	}
	return r
}

// routeName appears in access logs and statistics.
func routeName(c candidate) string {
	o := c.rule.Origin
	return fmt.Sprintf("%s/%s/%s/%s/%d", strings.ToLower(o.Kind), o.Namespace, o.Name,
		cmp.Or(o.RuleName, strconv.Itoa(o.Index)), c.index)
}

func answer(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

func setResponse(r *routev3.Route, rule *mesh.Rule) {
	e := editsOf(rule.Filters)
	r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = e.setResponse, e.removeResponse
}

func forward(r *routev3.Route, c candidate) {
	action := &routev3.RouteAction{
		Timeout:               timeout(nil),
		RequestMirrorPolicies: mirrors(c.rule.Mirrors),
	}
	for _, f := range c.rule.Filters {
		if f.URLRewrite != nil {
			to := newPath(c, f.URLRewrite.Path)
			action.PrefixRewrite, action.RegexRewrite = to.prefix, to.regex
		}
	}
	r.Action = &routev3.Route_Route{Route: action}
	outer := editsOf(c.rule.Filters)
	if slices.ContainsFunc(c.rule.Backends, func(b mesh.Backend) bool { return len(b.Filters) > 0 }) {
		split(action, c.rule, outer)
		return
	}
	split(action, c.rule, edits{})
	r.RequestHeadersToAdd, r.RequestHeadersToRemove = outer.setRequest, outer.removeRequest
	if outer.host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: outer.host}
	}
}

// split shares requests among backends. Envoy lets a route's changes to requests override those of
// the backend, which are the more specific: so where there are any, each backend gets the route's too.
func split(action *routev3.RouteAction, rule *mesh.Rule, outer edits) {
	only := rule.Backends[0]
	if len(rule.Backends) == 1 && rule.Unresolved == 0 && len(only.Filters) == 0 {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: only.Cluster}
		return
	}
	shares := &routev3.WeightedCluster{}
	for _, b := range rule.Backends {
		shares.Clusters = append(shares.Clusters, share(b, outer.then(editsOf(b.Filters))))
	}
	if rule.Unresolved > 0 {
		none := mesh.Backend{Cluster: unresolved, Weight: rule.Unresolved}
		shares.Clusters = append(shares.Clusters, share(none, edits{}))
		if rule.Kind != mesh.GRPCRoute {
			action.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
		}
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: shares}
}

func share(b mesh.Backend, e edits) *routev3.WeightedCluster_ClusterWeight {
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
