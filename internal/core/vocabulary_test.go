package core

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// numbers are what is drawn for integers of a type, or of a field.
var numbers = map[string][]int64{
	"PortNumber": {80, 443, 8000, 9000, 53, 8080, 8443, 1, 65535, 15021}, "Port": {80, 443, 8080, 9000, 53, 0},
	"ContainerPort": {8080, 80, 443}, "NodePort": {0}, "TargetPort": {8080, 80},
	"Weight": {1, 0, 3, 1_000_000}, "StatusCode": {301, 302, 303, 307, 308}, "Percent": {50, 0, 100},
	"Numerator": {1, 0, 50, 100}, "Denominator": {100, 1, 1_000_000}, "Attempts": {1, 0, 3, 1 << 30},
	"HTTPRouteRetryStatusCode": {503, 400, 599}, "MaxAge": {5, 1, 1 << 30}, "AvailableReplicas": {1, 0},
}

// written is what is drawn for texts of a type, or of a field: what the API server takes.
var written = map[string]string{
	"ObjectName": "cart edge stock bad pay cert roots more", "Namespace": "a b good better",
	"SectionName": "http https through ended raw dns alt grpc bad", "Kind": "Service Gateway ListenerSet Secret ConfigMap HTTPRoute GRPCRoute TLSRoute TCPRoute UDPRoute ServiceAccount Pod",
	"Group":    "- gateway.networking.k8s.io example.com",
	"Hostname": "shop.example *.example bad.example stock.example *.through.example a.through.example ended.example -", "PreciseHostname": "shop.example bad.example other.example",
	"Hostnames": "shop.example *.example bad.example", "CORSOrigin": "* https://*.example http://a.example:8080",
	"GatewayController": "mesh.weft.dev/gateway-controller example.com/other", "GatewayClassName": "weft weft bad worse gone",
	"ProtocolType": "HTTP HTTPS TLS TCP UDP example.com/SCTP", "TLSModeType": "Terminate Passthrough",
	"FromNamespaces": "Same All Selector None", "PathMatchType": "PathPrefix Exact RegularExpression",
	"HeaderMatchType": "Exact RegularExpression", "GRPCHeaderMatchType": "Exact RegularExpression", "QueryParamMatchType": "Exact RegularExpression", "GRPCMethodMatchType": "Exact RegularExpression",
	"HTTPRouteFilterType": "RequestMirror RequestRedirect URLRewrite CORS ExtensionRef ExternalAuth RequestHeaderModifier ResponseHeaderModifier", "GRPCRouteFilterType": "RequestMirror ExtensionRef RequestHeaderModifier ResponseHeaderModifier", "HTTPPathModifierType": "ReplaceFullPath ReplacePrefixMatch",
	"HTTPMethod": "GET POST PATCH OPTIONS", "HTTPMethodWithWildcard": "GET POST *", "HTTPHeaderName": "x-team Host user_id X-Team :authority x-weft-unsent traceparent * connection", "GRPCHeaderName": "x-team Host user_id te", "HeaderName": "x-team Host user_id",
	"Duration": "1s 0s 10m 500ms 99999h", "Scheme": "http https", "AddressType": "IPAddress Hostname IPv4 IPv6 FQDN NamedAddress",
	"FrontendValidationModeType": "AllowValidOnly AllowInsecureFallback", "SubjectAltNameType": "Hostname URI", "AbsoluteURI": "spiffe://cluster.local/ns/a/sa/cart", "WellKnownCACertificatesType": "System",
	"ReplaceFullPath": "/new - /a/../b", "ReplacePrefixMatch": "/new/ / - new", "Remove": "x-team Host user_id x-a",
	"Value": "/ /api/* /a[ /api/ [a-z]+ 10.96.1.1 192.0.2.10 value a,b %REQ(a)% (?!a)b", "Path": "/ /healthz relative?a=b",
	"Service": "shop.Cart p( -", "Method": "Get p( -", "LabelSelectorOperator": "In Exists Is", "Name": "cart edge http https weft-proxy app x-team bad pay cert roots", "Key": "app team",
	"ServiceType": "ClusterIP ClusterIP ExternalName NodePort LoadBalancer", "Protocol": "TCP UDP SCTP", "AppProtocol": "http https kubernetes.io/h2c kubernetes.io/ws tcp grpc unknown",
	"ClusterIP": "10.96.2.1 None -", "ClusterIPs": "10.96.2.1 10.96.2.2 fd00::2 None", "IPFamily": "IPv4 IPv6", "ExternalName": "example.com",
	"Addresses": "10.9.1.1 10.9.1.101 10.9.1.102 fd00::9 host.example", "IP": "10.9.1.101 10.9.1.102 fd00::9", "Zone": "z1 z2",
	"PodPhase": "Running Succeeded Failed Pending", "ConditionStatus": "True False", "PodConditionType": "Ready ContainersReady",
	"ServiceAccountName": "cart stock -", "NodeName": "one two -", "SecretType": "kubernetes.io/tls Opaque", "ContainerRestartPolicy": "Always",
	"PodCIDRs": "10.9.0.0/16 fd00::/64", "Address": "192.0.2.1 192.0.2.2 fd00::1 host.example", "NodeAddressType": "InternalIP Hostname",
	"DataKey": "tls.crt tls.key ca.crt deployment service runtime", "OptionsKey": "example.com/option",
	"AnnotationsKey": "mesh.weft.dev/issuer cert-manager.io/issuer mesh.weft.dev/exclude-inbound-ports mesh.weft.dev/exclude-outbound-ports mesh.weft.dev/inject",
	"Annotations":    "ClusterIssuer/public 8080 x enabled -", "Labels": "cart stock shop enabled endpointslice-controller.k8s.io", "MatchLabels": "cart stock shop",
	"LabelsKey": "app team kubernetes.io/service-name endpointslice.kubernetes.io/managed-by topology.kubernetes.io/zone topology.kubernetes.io/region", "Prefer": "topology.kubernetes.io/zone topology.kubernetes.io/region team app",
	"TrafficDistribution": "PreferClose PreferSameZone PreferSameNode", "CEL": "true request.method=='GET' caller.zone=='z1' request.verb 1",
	"TrustDomain": "cluster.local other.example", "CertificateConditionType": "Ready Issuing", "Data": "nothing spec:{} {}",
}

// vocabulary is all of that, and the enumerations of Weft's own kinds by their fields.
var vocabulary = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for _, path := range must(filepath.Glob("../../config/crd/bases/*.yaml")) {
		var crd any
		if err := yaml.Unmarshal(must(os.ReadFile(path)), &crd); err != nil {
			panic(err)
		}
		enumerations(crd, "", out)
	}
	for name, values := range written {
		out[name] = nil
		for _, v := range strings.Fields(values) {
			out[name] = append(out[name], strings.TrimPrefix(v, "-")) // "-" is the empty text
		}
	}
	return out
})

// enumerations finds those in a schema.
func enumerations(schema any, field string, out map[string][]string) {
	switch s := schema.(type) {
	case map[string]any:
		all, _ := s["enum"].([]any)
		for _, v := range all {
			if text, is := v.(string); is {
				out[field] = append(out[field], text)
			}
		}
		for name, inner := range s {
			switch name {
			case "items":
				enumerations(inner, field, out)
			default:
				enumerations(inner, strings.ToUpper(name[:1])+name[1:], out)
			}
		}
	case []any:
		for _, inner := range s {
			enumerations(inner, field, out)
		}
	}
}
