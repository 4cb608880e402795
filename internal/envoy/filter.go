package envoy

import (
	"cmp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
)

// edits are what a rule's or a backend's filters do to headers.
type edits struct {
	setRequest, setResponse       []*corev3.HeaderValueOption
	removeRequest, removeResponse []string
	host                          string // replaces the request's; empty: kept
}

func editsOf(filters []gwv1.HTTPRouteFilter) edits {
	var e edits
	for _, f := range filters {
		switch {
		case f.RequestHeaderModifier != nil:
			e.setRequest = append(e.setRequest, changed(f.RequestHeaderModifier)...)
			e.removeRequest = append(e.removeRequest, removed(f.RequestHeaderModifier)...)
			e.host = hostSet(f.RequestHeaderModifier, e.host)
		case f.ResponseHeaderModifier != nil:
			e.setResponse = append(e.setResponse, changed(f.ResponseHeaderModifier)...)
			e.removeResponse = append(e.removeResponse, removed(f.ResponseHeaderModifier)...)
		case f.URLRewrite != nil && f.URLRewrite.Hostname != nil:
			e.host = string(*f.URLRewrite.Hostname)
		}
	}
	return e
}

// then is what a request meets under e followed by more. Envoy removes first and sets afterwards, so
// what is set by e and removed by more is not set at all.
func (e edits) then(more edits) edits {
	var set []*corev3.HeaderValueOption
	for _, o := range e.setRequest {
		if !slices.ContainsFunc(more.removeRequest, func(name string) bool { return strings.EqualFold(name, o.Header.Key) }) {
			set = append(set, o)
		}
	}
	more.setRequest = append(set, more.setRequest...)
	more.removeRequest = append(slices.Clone(e.removeRequest), more.removeRequest...)
	more.host = cmp.Or(more.host, e.host)
	return more
}

// changed leaves out names and values that Envoy refuses, and Host: it is no header to Envoy, and can be neither
// appended to nor removed.
func changed(m *gwv1.HTTPHeaderFilter) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	add := func(headers []gwv1.HTTPHeader, action corev3.HeaderValueOption_HeaderAppendAction) {
		for _, h := range headers {
			if name := string(h.Name); !isHost(name) && mesh.ValidHeaderName(name) && mesh.ValidHeaderValue(h.Value) {
				options = append(options, headerValue(string(h.Name), h.Value, action))
			}
		}
	}
	add(m.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	add(m.Add, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	return options
}

// headerValue doubles each %, for Envoy would take what follows one as a command.
func headerValue(name, value string, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: strings.ReplaceAll(value, "%", "%%")},
		AppendAction: action,
	}
}

func removed(m *gwv1.HTTPHeaderFilter) []string {
	var names []string
	for _, name := range m.Remove {
		if !isHost(name) && mesh.ValidHeaderName(name) {
			names = append(names, name)
		}
	}
	return names
}

func hostSet(m *gwv1.HTTPHeaderFilter, otherwise string) string {
	for _, h := range m.Set {
		if isHost(string(h.Name)) && mesh.ValidHeaderValue(h.Value) {
			return h.Value
		}
	}
	return otherwise
}

func isHost(header string) bool { return strings.EqualFold(header, "host") }
