package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestRefusedMistakes: what the CRDs of Gateway API and that of the Mesh refuse by themselves, and that the
// API server says why.
func TestRefusedMistakes(t *testing.T) {
	config := apiServer(t)
	installGatewayAPI(t, config)
	installMesh(t, config)
	c := newClient(t, config)
	for _, m := range refusedMistakes {
		o := &unstructured.Unstructured{}
		version := "gateway.networking.k8s.io/v1"
		if m.kind == "Mesh" {
			version = v1alpha1.GroupVersion.String()
		}
		text := "apiVersion: " + version + "\nkind: " + m.kind + "\nmetadata: {name: default, namespace: default}\nspec: " + m.spec
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		err := c.Create(t.Context(), o, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), m.why) {
			t.Errorf("%s %s: %v; want %q", m.kind, m.spec, err, m.why)
		}
	}
}

// refusedMistakes are specs with what the API server says of them.
var refusedMistakes = []struct{ kind, spec, why string }{
	{"HTTPRoute", "{rules: [{matches: [{path: {value: api}}]}]}", "must be an absolute path and start with '/'"},
	{"HTTPRoute", "{rules: [{matches: [{path: {type: ImplementationSpecific, value: /}}]}]}", "spec.rules[0].matches[0].path.type: Unsupported value"},
	{"HTTPRoute", "{rules: [{backendRefs: [{name: a}]}]}", "Must have port for Service reference"},
	{"HTTPRoute", "{rules: [{backendRefs: [{name: a, port: http}]}]}", "spec.rules[0].backendRefs[0].port"},
	{"HTTPRoute", "{rules: [{backendRefs: [{name: a, port: 80, weight: -1}]}]}", "spec.rules[0].backendRefs[0].weight"},
	{"HTTPRoute", "{rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}], backendRefs: [{name: a, port: 80}]}]}", "RequestRedirect filter must not be used together with backendRefs"},
	{"HTTPRoute", "{rules: [{timeouts: {request: 1s, backendRequest: 2s}}]}", "backendRequest timeout cannot be longer than request timeout"},
	{"HTTPRoute", "{rules: [{timeouts: {request: 1 minute}}]}", "spec.rules[0].timeouts.request"},
	{"HTTPRoute", "{rules: [{filters: [{type: CORS}]}]}", "filter.cors must be specified for CORS filter.type"},
	{"HTTPRoute", "{hostnames: [\"shop.example:8080\"]}", "spec.hostnames[0]"},
	{"HTTPRoute", "{rules: [{matches: [{headers: [{name: x-a, value: b}, {name: x-a, value: c}]}]}]}", "Duplicate value"},
	{"GRPCRoute", "{rules: [{matches: [{method: {}}]}]}", "One or both of 'service' or 'method' must be specified"},
	{"GRPCRoute", "{rules: [{matches: [{method: {service: shop/Cart}}]}]}", "service must only contain valid characters"},
	{"TLSRoute", "{rules: [{backendRefs: [{name: a, port: 443}]}]}", "spec.hostnames: Required value"},
	{"TCPRoute", "{rules: [{backendRefs: [{name: a}]}]}", "Must have port for Service reference"},
	{"UDPRoute", "{rules: [{backendRefs: []}]}", "spec.rules[0].backendRefs"},
	{"Gateway", "{gatewayClassName: weft, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]}", "tls mode must be Terminate for protocol HTTPS"},
	{"Gateway", "{gatewayClassName: weft, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {}}]}", "certificateRefs or options must be specified when"},
	{"Gateway", "{gatewayClassName: weft, listeners: [{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}]}", "Listener name must be unique within the Gateway"},
	{"Gateway", "{gatewayClassName: weft, listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]}", "Combination of port, protocol and hostname must be unique for each listener"},
	{"Gateway", "{gatewayClassName: weft, listeners: [{name: a, port: 9000, protocol: TCP, hostname: a.example}]}", "hostname must not be specified for protocols"},
	{"Gateway", "{gatewayClassName: weft, listeners: []}", "spec.listeners"},
	{"ListenerSet", "{parentRef: {name: edge}, listeners: [{name: a, port: 0, protocol: HTTP}]}", "spec.listeners[0].port"},
	{"ReferenceGrant", "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute}], to: [{group: \"\", kind: Service}]}", "spec.from[0].namespace: Required value"},
	{"ReferenceGrant", "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: \"*\"}], to: [{group: \"\", kind: Service}]}", "spec.from[0].namespace"},
	{"BackendTLSPolicy", "{targetRefs: [{group: \"\", kind: Service, name: a}], validation: {hostname: a.example}}", "must specify either CACertificateRefs or WellKnownCACertificates"},
	{"BackendTLSPolicy", "{targetRefs: [{group: \"\", kind: Service, name: a}], validation: {caCertificateRefs: [{group: \"\", kind: ConfigMap, name: a}]}}", "spec.validation.hostname: Required value"},
	{"GatewayClass", "{controllerName: weft}", "spec.controllerName"},
	{"Mesh", "{trustDomain: \"spiffe://corp\"}", "spec.trustDomain"},
	{"Mesh", "{identity: {issuerRef: {name: corp}, authorityRevision: 2}}", "has no meaning where issuerRef names the authority"},
	{"Mesh", "{identity: {issuerRef: {name: corp, kind: Vault}}}", "cert-manager.io has the kinds Issuer and ClusterIssuer"},
	{"Mesh", "{identity: {issuance: Certificate}}", "spec.identity.issuance: Unsupported value"},
	{"Mesh", "{identity: {lifetime: 30m}}", "must be from 1h to 8760h"},
	{"Mesh", "{identity: {renewBefore: 1m}}", "must be 5m or more"},
	{"Mesh", "{identity: {connectionAge: 0s}}", "must be from 1m to 24h"},
	{"Mesh", "{telemetry: {accessLogs: All}}", "spec.telemetry.accessLogs: Unsupported value"},
	{"Mesh", "{telemetry: {accessLogs: Sampled, samplePercent: 101}}", "spec.telemetry.samplePercent"},
	{"Mesh", "{decisionLog: {decisions: Some}}", "spec.decisionLog.decisions: Unsupported value"},
	{"Mesh", "{decisionLog: {claims: [tenant]}}", "nothing is told: write decisions: Denied or All"},
	{"Mesh", "{gateways: {replicas: 0}}", "spec.gateways.replicas"},
	{"Mesh", "{sidecars: {concurrency: 0}}", "spec.sidecars.concurrency"},
}
