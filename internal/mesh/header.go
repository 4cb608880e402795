package mesh

import (
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/policy/room"
)

// ValidHeaderName says whether a header can have that name.
func ValidHeaderName(name string) bool { return room.HeaderName(name) }

// ValidHeaderValue says whether a header can have that value: the standard channel's HTTPRoute lets
// line breaks through, which would make further headers of it.
func ValidHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// badHeaders finds changes of headers that cannot be made.
func badHeaders(fs []gwv1.HTTPRouteFilter, field string) Verdict {
	var vs []Verdict
	for i, f := range fs {
		if m := f.RequestHeaderModifier; m != nil {
			vs = append(vs, badModifier(m, fmt.Sprintf("%s.filters[%d].requestHeaderModifier", field, i)))
		}
		if m := f.ResponseHeaderModifier; m != nil {
			vs = append(vs, badModifier(m, fmt.Sprintf("%s.filters[%d].responseHeaderModifier", field, i)))
		}
	}
	return first(vs...)
}

func badModifier(m *gwv1.HTTPHeaderFilter, field string) Verdict {
	for i, h := range slices.Concat(m.Set, m.Add) {
		list, at := "set", i
		if i >= len(m.Set) {
			list, at = "add", i-len(m.Set)
		}
		switch {
		case !ValidHeaderName(string(h.Name)):
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s.%s[%d].name: %q is no header's name", field, list, at, bounded(string(h.Name)))
		case !ValidHeaderValue(h.Value):
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s.%s[%d].value holds a control character: remove it", field, list, at)
		}
	}
	for i, name := range m.Remove {
		if !ValidHeaderName(name) {
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s.remove[%d]: %q is no header's name", field, i, bounded(name))
		}
	}
	return Verdict{}
}
