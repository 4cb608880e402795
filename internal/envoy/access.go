package envoy

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	exprv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/smi"
	"github.com/weft-mesh/weft/internal/wire"
)

// Access is a filter that decides who may reach the app. It is a resource of its own, so that a change of it
// is in force for the next request, or connection, and ends nothing that is under way.
func Access(a mesh.Access) *corev3.TypedExtensionConfig {
	if a.Name == mesh.AccessRequests {
		return &corev3.TypedExtensionConfig{Name: a.Name, TypedConfig: wire.Any(accessOfRequests(a))}
	}
	return &corev3.TypedExtensionConfig{Name: a.Name, TypedConfig: wire.Any(accessOfBytes(a))}
}

// guardedRequests has the filter of requests come by discovery. Until it has come, all are refused.
func guardedRequests() *hcmv3.HttpFilter {
	until := accessOfRequests(mesh.Access{Guarded: true})
	return &hcmv3.HttpFilter{Name: mesh.AccessRequests, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovered(until)}}
}

// guardedBytes is the same of connections: before what passes them on, it says whether.
func guardedBytes(name string) *listenerv3.Filter {
	until := accessOfBytes(mesh.Access{Guarded: true})
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: discovered(until)}}
}

func discovered(until proto.Message) *corev3.ExtensionConfigSource {
	config := wire.Any(until)
	return &corev3.ExtensionConfigSource{ConfigSource: adsUntilAnswered(), DefaultConfig: config, TypeUrls: []string{config.TypeUrl}}
}

// accessOfRequests asks nothing where nothing is guarded.
func accessOfRequests(a mesh.Access) *httprbacv3.RBAC {
	if !a.Guarded {
		return &httprbacv3.RBAC{}
	}
	rules := &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{}}
	for _, allow := range a.Allows {
		if allow.Traffic != smi.DeclaredBytes {
			rules.Policies[allow.Name] = requestPolicy(allow, a.TrustDomain)
		}
	}
	return &httprbacv3.RBAC{Rules: rules}
}

func requestPolicy(allow smi.Allow, trustDomain string) *rbacv3.Policy {
	p := &rbacv3.Policy{Condition: wholeHeaders(allow.Request.Headers)}
	for _, account := range allow.Sources {
		p.Principals = append(p.Principals, &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{
			Authenticated: &rbacv3.Principal_Authenticated{PrincipalName: wire.Exactly(peerID(trustDomain, account))},
		}})
	}
	all := slices.Concat(onPorts(allow.Ports), askedFor(allow.Request))
	if len(all) == 0 {
		all = []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}
	}
	p.Permissions = []*rbacv3.Permission{{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: all}}}}
	return p
}

func peerID(trustDomain, account string) string {
	namespace, name, _ := strings.Cut(account, "/")
	return mesh.SPIFFEID(trustDomain, namespace, name)
}

func onPorts(ports []int32) []*rbacv3.Permission {
	var any []*rbacv3.Permission
	for _, p := range ports {
		any = append(any, &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(p)}})
	}
	return oneOf(any)
}

// oneOf is one Permission for any of several, or none of none.
func oneOf(any []*rbacv3.Permission) []*rbacv3.Permission {
	if len(any) < 2 {
		return any
	}
	return []*rbacv3.Permission{{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: any}}}}
}

// askedFor are what a request must meet.
func askedFor(r smi.Request) []*rbacv3.Permission {
	var methods []*rbacv3.Permission
	for _, m := range r.Methods {
		methods = append(methods, &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: wire.Header(":method", wire.Exactly(m))}})
	}
	all := oneOf(methods)
	if r.Path != "" {
		all = append(all, ofPath(wire.Regex(r.Path)))
		all = append(all, unambiguous(r.Path)...)
	}
	for _, h := range r.Headers {
		all = append(all, &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: wire.Header(h.Name, wire.Regex(h.Value))}})
	}
	return all
}

func ofPath(m *matcherv3.StringMatcher) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{
		UrlPath: &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: m}},
	}}
}

// unambiguous keeps out of a path what some apps read otherwise than the proxy does, once it has normalized
// it: what is encoded twice, parameters of segments, by which /open/..;/admin is /admin, and what ends a path
// for whom decodes it first. An expression that has such a thing in it says that it is meant.
func unambiguous(regex string) (all []*rbacv3.Permission) {
	if regex == ".*" {
		return nil
	}
	for _, part := range []string{"%25", ";", "%3b", "%3f", "%23"} {
		if strings.Contains(strings.ToLower(regex), part) {
			continue
		}
		has := ofPath(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: part}, IgnoreCase: true})
		all = append(all, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: has}})
	}
	return all
}

// wholeHeaders holds a header that is there several times against its expression as one, its values joined by
// commas: a HeaderMatcher is content with any of them, and the app may read another. What makes no sense in
// CEL, such as a header that is not there, matches nothing.
func wholeHeaders(headers []smi.Header) (all *exprv1.Expr) {
	for _, h := range headers {
		value := call("_[_]", &exprv1.Expr{ExprKind: &exprv1.Expr_SelectExpr{SelectExpr: &exprv1.Expr_Select{Operand: ident("request"), Field: "headers"}}}, text(h.Name))
		one := call("matches", value, text("^(?:"+h.Value+")$"))
		if all == nil {
			all = one
		} else {
			all = call("_&&_", all, one)
		}
	}
	return all
}

func call(function string, args ...*exprv1.Expr) *exprv1.Expr {
	return &exprv1.Expr{ExprKind: &exprv1.Expr_CallExpr{CallExpr: &exprv1.Expr_Call{Function: function, Args: args}}}
}

func ident(name string) *exprv1.Expr {
	return &exprv1.Expr{ExprKind: &exprv1.Expr_IdentExpr{IdentExpr: &exprv1.Expr_Ident{Name: name}}}
}

func text(s string) *exprv1.Expr {
	return &exprv1.Expr{ExprKind: &exprv1.Expr_ConstExpr{ConstExpr: &exprv1.Constant{ConstantKind: &exprv1.Constant_StringValue{StringValue: s}}}}
}
