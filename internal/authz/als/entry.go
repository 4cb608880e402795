package als

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// How long the parts of a Record may be. What is longer is left out, and told of as that.
const (
	maxText   = 256
	maxPath   = 2 << 10
	maxHeader = 1 << 10
	maxClaims = 8 << 10
	maxNames  = 64 // of headers, and of tokens
	// What a Record takes in memory beside its texts.
	overhead = 1 << 10
)

// reader makes Records of what one proxy tells.
type reader struct {
	proxy  authz.Proxy
	claims []string
	now    time.Time

	cut []string
}

// record is what an entry tells, and how many bytes it is.
func (r reader) record(e *accessdatav3.HTTPAccessLogEntry) (authz.Record, int) {
	common, asked := e.GetCommonProperties(), e.GetRequest()
	told, law := r.told(common)
	out := authz.Record{
		ID: r.text("id", asked.GetRequestId(), maxText), Time: r.time(common), Proxy: r.proxy, Law: law,
		Status: int(e.GetResponse().GetResponseCode().GetValue()), Details: first(e.GetResponse().GetResponseCodeDetails(), maxText),
		Route: first(common.GetRouteName(), maxText),
	}
	if told == nil {
		path, _, _ := strings.Cut(asked.GetPath(), "?")
		told = &authz.Told{Method: corev3.RequestMethod_name[int32(asked.GetRequestMethod())], Path: path, Host: asked.GetAuthority()}
	}
	out.Input = r.input(common, told, law, out.Time)
	r.decided(&out, common)
	out.Tokens = r.tokens(common, law)
	out.Cut = r.cut
	return out, sizeOf(out)
}

// told is what the filter before those that decide has said of the request; nil if it did not come so far.
func (r *reader) told(common *accessdatav3.AccessLogCommon) (*authz.Told, *authz.Law) {
	state, is := common.GetFilterStateObjects()[authz.State]
	if !is {
		return nil, nil
	}
	var text wrapperspb.StringValue
	var told authz.Told
	if state.UnmarshalTo(&text) != nil || json.Unmarshal([]byte(text.Value), &told) != nil {
		r.cut = append(r.cut, "law")
		return nil, nil
	}
	var law authz.Law
	if json.Unmarshal([]byte(told.Law), &law) != nil {
		r.cut = append(r.cut, "law")
		return &told, nil
	}
	return &told, &law
}

// time is when the request began, by the proxy's clock unless that is far off.
func (r reader) time(common *accessdatav3.AccessLogCommon) time.Time {
	at := common.GetStartTime().AsTime()
	if common.GetStartTime() == nil || at.Before(r.now.Add(-time.Hour)) || at.After(r.now.Add(time.Minute)) {
		return r.now
	}
	return at.UTC()
}

func (r *reader) input(common *accessdatav3.AccessLogCommon, told *authz.Told, law *authz.Law, at time.Time) opa.Input {
	path := r.text("request.path", told.Path, maxPath)
	request := opa.RequestOf(first(told.Method, maxText), path, r.text("request.host", told.Host, maxText), nil)
	request.Headers = r.headers(told, law)
	to := opa.Receiver{Namespace: r.proxy.Namespace, ServiceAccount: r.proxy.ServiceAccount}
	if law != nil {
		to.Labels = law.Labels
	}
	to.Port = int32(common.GetDownstreamLocalAddress().GetSocketAddress().GetPortValue())
	return opa.Input{
		Source: source(common, law != nil && law.Gateway), Destination: to, Request: request,
		Time: opa.Moment{Hour: at.Hour(), Weekday: int(at.Weekday())},
	}
}

// source is who calls: who has one name, and that of a ServiceAccount. At a Gateway nobody has.
func source(common *accessdatav3.AccessLogCommon, gateway bool) opa.Source {
	ip := common.GetDownstreamDirectRemoteAddress().GetSocketAddress().GetAddress()
	if ip == "" {
		ip = common.GetDownstreamRemoteAddress().GetSocketAddress().GetAddress()
	}
	ip = first(ip, maxText)
	var names []string
	for _, n := range common.GetTlsProperties().GetPeerCertificateProperties().GetSubjectAltName() {
		if n.GetUri() != "" {
			names = append(names, n.GetUri())
		}
	}
	out := opa.Source{}
	if len(names) == 1 && !gateway && len(names[0]) <= maxHeader {
		out, _ = opa.SourceOf(names[0])
	}
	out.IP = ip
	return out
}

// headers are those that the law asks for.
func (r *reader) headers(told *authz.Told, law *authz.Law) map[string]string {
	if law == nil {
		return nil
	}
	out := map[string]string{}
	for name, value := range told.Headers {
		switch {
		case !slices.Contains(law.Headers, name) || len(out) == maxNames:
		case authz.Secret(name):
			r.cut = append(r.cut, "request.headers["+name+"]")
		case len(value) > maxHeader:
			r.cut = append(r.cut, "request.headers["+name+"]")
		default:
			out[name] = value
		}
	}
	for _, name := range law.Headers {
		if authz.Secret(name) && !slices.Contains(r.cut, "request.headers["+name+"]") && len(r.cut) < maxNames {
			r.cut = append(r.cut, "request.headers["+name+"]")
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// tokens are the claims by which levels go: those that the law asks for, and those that are kept of all.
func (r *reader) tokens(common *accessdatav3.AccessLogCommon, law *authz.Law) map[string]map[string]any {
	verified := common.GetMetadata().GetFilterMetadata()[room.ClaimsNamespace].GetFields()
	if law == nil || len(verified) == 0 {
		return nil
	}
	out, left := map[string]map[string]any{}, maxClaims
	for _, l := range law.Levels {
		claims := verified[l.Claims].GetStructValue()
		if l.Claims == "" || claims == nil || out[l.Claims] != nil || len(out) == maxNames {
			continue
		}
		kept := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, name := range slices.Concat(law.Claims, r.claims) {
			if value, is := claims.Fields[name]; is {
				kept.Fields[name] = value
			}
		}
		text, err := kept.MarshalJSON()
		if err != nil || len(text) > left {
			r.cut = append(r.cut, "jwt.claims")
			continue
		}
		out[l.Claims], left = kept.AsMap(), left-len(text)
	}
	return out
}

// decided says what the proxy did, and would have done.
func (r *reader) decided(out *authz.Record, common *accessdatav3.AccessLogCommon) {
	out.Verdict = authz.Allowed
	if section, ours := deniedBy(out.Details); ours || byItself(out.Status, out.Details) {
		out.Verdict, out.Section = authz.Denied, section
		if section == "authorization" && out.Law == nil {
			out.Section = "trafficTargets"
		}
	}
	r.asked(out, common)
	said := common.GetMetadata().GetFilterMetadata()[wire.RBAC].GetFields()
	field := func(name string) string { return first(said[name].GetStringValue(), maxText) }
	if rule := field("enforced_effective_policy_id"); strings.HasPrefix(out.Details, "rbac_") && field("enforced_engine_result") == "denied" {
		out.Rule = rule
	}
	if result := field("shadow_engine_result"); result != "" && out.Verdict == authz.Allowed {
		out.Shadow = &authz.Shadow{Result: authz.Allowed}
		if result == "denied" {
			out.Shadow = &authz.Shadow{
				Result: authz.Denied, Section: field("section_shadow_effective_policy_id"),
				Policy: field("shadow_effective_policy_id"), Rule: field("rule_shadow_effective_policy_id"),
			}
		}
	}
}

// asked says by what it was denied where weft authz was asked: its answer names the policy, and without one the status is
// not that of a server that a policy has asked.
func (r *reader) asked(out *authz.Record, common *accessdatav3.AccessLogCommon) {
	if out.Section != "extAuth" {
		return
	}
	said := common.GetMetadata().GetFilterMetadata()["envoy.filters.http.ext_authz"].GetFields()
	policy, rule := first(said["policy"].GetStringValue(), maxText), first(said["rule"].GetStringValue(), maxText)
	switch {
	case policy != "" && rule != "":
		out.Section = "authorization"
		if rule != "none" {
			out.Rule = policy + "/" + rule
		}
	case strings.HasPrefix(out.Details, "ext_authz_error") && out.Status == http.StatusForbidden:
		out.Section = "authorization"
	}
}

// deniers are the sections by the words with which Envoy's filters say that they deny.
var deniers = []struct{ begins, section string }{
	{"rbac_access_denied", "authorization"},
	{"jwt_authn_access_denied", "jwt"},
	{"ext_authz_denied", "extAuth"},
	{"ext_authz_error", "extAuth"},
	{"no_credential_for_basic_auth", "basicAuth"},
	{"invalid_credential_for_basic_auth", "basicAuth"},
	{"invalid_username_for_basic_auth", "basicAuth"},
	{"missing_api_key", "apiKey"},
	{"unkonwn_api_key", "apiKey"}, // as Envoy writes it
	{"unknown_api_key", "apiKey"},
	{"client_not_allowed", "apiKey"},
	{"oauth.", "oidc"},
}

func deniedBy(details string) (section string, is bool) {
	for _, d := range deniers {
		if strings.HasPrefix(details, d.begins) {
			return d.section, true
		}
	}
	return "", false
}

// byItself says whether the proxy, not the app, has answered that somebody is not let in.
func byItself(status int, details string) bool {
	return (status == http.StatusUnauthorized || status == http.StatusForbidden) && details != "via_upstream" && details != "direct_response"
}

// text is one, or nothing if it is too long.
func (r *reader) text(name, value string, most int) string {
	if len(value) > most {
		r.cut = append(r.cut, name)
		return ""
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}

// first is the beginning of a text.
func first(text string, most int) string {
	if len(text) > most {
		text = text[:most]
		for len(text) > 0 && !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// sizeOf is about what a Record takes in memory.
func sizeOf(r authz.Record) int {
	text, err := json.Marshal(r)
	if err != nil {
		return maxMessage
	}
	return overhead + 2*len(text)
}
