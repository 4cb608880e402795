package room

import (
	"fmt"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/wire"
)

// Without removes headers, and parameters of the query; no filter where there are none.
func Without(headers, params []string) []*corev3.TypedExtensionConfig {
	if len(headers)+len(params) == 0 {
		return nil
	}
	m := &mutationfilterv3.Mutations{}
	for _, name := range headers {
		m.RequestMutations = append(m.RequestMutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	for _, name := range params {
		m.QueryParameterMutations = append(m.QueryParameterMutations, &corev3.KeyValueMutation{Remove: name})
	}
	return []*corev3.TypedExtensionConfig{wire.Extension("envoy.filters.http.header_mutation", &mutationfilterv3.HeaderMutation{Mutations: m})}
}

// eatCookies is what follows the table of their names.
const eatCookies = `
function envoy_on_request(handle)
  local headers, kept = handle:headers(), {}
  for i = 0, headers:getNumValues("cookie") - 1 do
    for pair in string.gmatch(headers:getAtIndex("cookie", i), "[^;]+") do
      local text = string.match(pair, "^%s*(.-)%s*$")
      if text ~= "" and not eaten[string.match(text, "^[^=%s]*")] then kept[#kept + 1] = text end
    end
  end
  headers:remove("cookie")
  if #kept > 0 then headers:add("cookie", table.concat(kept, "; ")) end
end
`

// WithoutCookies removes cookies by their names; no filter where there are none. No other filter of Envoy's takes a
// part of a header away and asks for nothing.
func WithoutCookies(names []string) []*corev3.TypedExtensionConfig {
	if len(names) == 0 {
		return nil
	}
	var table strings.Builder
	for _, name := range names {
		fmt.Fprintf(&table, "[%q] = true, ", name)
	}
	script := &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "local eaten = {" + table.String() + "}" + eatCookies}}
	return []*corev3.TypedExtensionConfig{wire.Extension("envoy.filters.http.lua", &luav3.Lua{DefaultSourceCode: script, ClearRouteCache: wrapperspb.Bool(false)})}
}
