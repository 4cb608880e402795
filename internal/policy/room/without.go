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

// eatCookies is what follows the table of their names, and whether parts of them go too.
const eatCookies = `
local function spent(name)
  if not parts then return eaten[name] end
  for begin in pairs(eaten) do
    if string.sub(name, 1, #begin) == begin and not string.find(name, "^%w", #begin + 1) then return true end
  end
end
function envoy_on_request(handle)
  local headers, kept = handle:headers(), {}
  for i = 0, headers:getNumValues("cookie") - 1 do
    for pair in string.gmatch(headers:getAtIndex("cookie", i), "[^;]+") do
      local text = string.match(pair, "^%s*(.-)%s*$")
      if text ~= "" and not spent(string.match(text, "^[^=%s]*")) then kept[#kept + 1] = text end
    end
  end
  headers:remove("cookie")
  if #kept > 0 then headers:add("cookie", table.concat(kept, "; ")) end
end
`

// CookieFilter is the name of the filter that removes cookies.
const CookieFilter = "envoy.filters.http.lua"

// WithoutCookies removes cookies by their names; no filter where there are none. No other filter of Envoy's takes a
// part of a header away and asks for nothing. With parts it also removes what Envoy made of a cookie that was too
// long: the name of each has the cookie's, and behind it what is no letter or digit.
func WithoutCookies(names []string, parts bool) []*corev3.TypedExtensionConfig {
	if len(names) == 0 {
		return nil
	}
	var script strings.Builder
	script.WriteString("local eaten = {")
	for _, name := range names {
		fmt.Fprintf(&script, "[%q] = true, ", name)
	}
	fmt.Fprintf(&script, "}\nlocal parts = %t", parts)
	script.WriteString(eatCookies)
	source := &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: script.String()}}
	return []*corev3.TypedExtensionConfig{wire.Extension(CookieFilter, &luav3.Lua{DefaultSourceCode: source, ClearRouteCache: wrapperspb.Bool(false)})}
}
