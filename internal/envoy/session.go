package envoy

import (
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookiev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

const sessionFilter = "envoy.filters.http.stateful_session"

// addSession has a route keep sessions. It is not strict: where the endpoint of a session is gone, or takes
// no requests, another one answers, and the session is that one's from then on.
func addSession(route *routev3.Route, v mesh.VirtualHost, c candidate) {
	if c.rule.Session == nil {
		return
	}
	state := sessionState(*c.rule.Session, c.cookiePath(), v.TLS)
	perFilter(route, sessionFilter, &sessionv3.StatefulSessionPerRoute{Override: &sessionv3.StatefulSessionPerRoute_StatefulSession{
		StatefulSession: &sessionv3.StatefulSession{SessionState: state},
	}})
}

// perFilter sets what a filter of the connection manager does for a route.
func perFilter(route *routev3.Route, filter string, config proto.Message) {
	if route.TypedPerFilterConfig == nil {
		route.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	route.TypedPerFilterConfig[filter] = wire.Any(config)
}

// sessionState is the endpoint's address as the client carries it. Envoy makes each cookie HttpOnly.
func sessionState(s mesh.Session, path string, secure bool) *corev3.TypedExtensionConfig {
	if s.Header {
		return &corev3.TypedExtensionConfig{
			Name: "envoy.http.stateful_session.header", TypedConfig: wire.Any(&headerv3.HeaderBasedSessionState{Name: s.Name}),
		}
	}
	cookie := &httpv3.Cookie{Name: s.Name, Path: path, Attributes: []*httpv3.CookieAttribute{{Name: "SameSite", Value: "Strict"}}}
	if s.AnyPath {
		cookie.Path = ""
	}
	if s.TTL > 0 {
		cookie.Ttl = durationpb.New(s.TTL)
	}
	if secure {
		cookie.Attributes = append(cookie.Attributes, &httpv3.CookieAttribute{Name: "Secure"})
	}
	return &corev3.TypedExtensionConfig{
		Name: "envoy.http.stateful_session.cookie", TypedConfig: wire.Any(&cookiev3.CookieBasedSessionState{Cookie: cookie}),
	}
}

// cookiePath is the path under which a client sends a cookie back: that of the match or, of a regular
// expression, the whole segments that it begins with.
func (c candidate) cookiePath() string {
	path := c.path
	if c.pathType == gwv1.PathMatchRegularExpression {
		path = ""
		if expression, err := regexp.Compile(c.path); err == nil { // one that RE2 cannot compile was left out
			prefix, whole := expression.LiteralPrefix()
			if path = prefix; !whole {
				path = prefix[:max(strings.LastIndexByte(prefix, '/'), 0)]
			}
		}
	}
	if path = strings.TrimRight(path, "/"); path == "" {
		return "/"
	}
	return path
}
