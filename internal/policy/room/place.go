package room

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/internal/wire"
)

// Place is a Filter in whose stead Routes put others by Fill: for what a filter cannot be told for one Route.
func Place(name string) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, Disabled: true, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wire.Any(&compositev3.Composite{})}}
}

// Fill has the requests of a Route meet, in a Place, what a matcher says.
func Fill(r *routev3.Route, place string, by *xdsmatcherv3.Matcher) {
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[place] = Override(by)
}

// Run has requests that a matcher is about meet the filters of an action.
func Run(name string, action *compositev3.ExecuteFilterAction) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: wire.Any(action)},
	}}
}
