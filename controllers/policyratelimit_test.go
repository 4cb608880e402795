package controllers

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// rateLimitSpecs are limits, each with what the API server says of them; nothing if it takes them.
var rateLimitSpecs = map[string]string{
	"{local: {limits: [{requests: 5}]}}":  "",
	"{global: {limits: [{requests: 5}]}}": "", "{global: {limits: [{requests: 5}]}, local: {limits: [{requests: 5}]}}": "",
	"{global: {limits: []}}": "spec.rateLimit.global.limits",
	"{local: {headers: None, limits: [{requests: 5, per: 1h, burst: 9, by: [{type: Header, header: x-user}, {type: SourceIP}, {type: Method, value: GET}, {type: Path}]}, {requests: 1, per: 1m30s, by: [{type: Caller}]}]}}": "",
	"{local: {limits: [{requests: 1, by: [{type: Claim, claim: [sub]}, {type: Claim, claim: [realm, 'a.b'], value: x}]}]}}":                                                                                                   "",
	"{local: {limits: [{requests: 1, by: [{type: Claim}]}]}}":              "claim is for type Claim, which needs it",
	"{local: {limits: [{requests: 1, by: [{type: Path, claim: [sub]}]}]}}": "claim is for type Claim, which needs it",
	"{}":                                 "a rate limit without a limit does nothing",
	"{local: {}}":                        "spec.rateLimit.local.limits",
	"{local: {limits: []}}":              "spec.rateLimit.local.limits",
	"{local: {limits: [{requests: 0}]}}": "spec.rateLimit.local.limits[0].requests",
	"{local: {limits: [{requests: 1, burst: 0}]}}":                                 "spec.rateLimit.local.limits[0].burst",
	"{local: {limits: [{requests: 1, per: 500ms}]}}":                               "from 1s to 24h",
	"{local: {limits: [{requests: 1, per: 25h}]}}":                                 "from 1s to 24h",
	"{local: {limits: [{requests: 1, per: often}]}}":                               "spec.rateLimit.local.limits[0].per",
	"{local: {headers: Draft10, limits: [{requests: 1}]}}":                         "spec.rateLimit.local.headers",
	"{local: {limits: [{requests: 1, by: [{type: Header}]}]}}":                     "header is for type Header, which needs it",
	"{local: {limits: [{requests: 1, by: [{type: Path, header: x-user}]}]}}":       "header is for type Header, which needs it",
	"{local: {limits: [{requests: 1, by: [{type: Header, header: \"x user\"}]}]}}": "spec.rateLimit.local.limits[0].by[0].header",
	"{local: {limits: [{requests: 1, by: [{type: SourceIP, value: 10.0.0.1}]}]}}":  "a value is of a Header, Method, Path or Claim",
	"{local: {limits: [{requests: 1, by: [{type: Caller, value: a}]}]}}":           "a value is of a Header, Method, Path or Claim",
	"{local: {limits: [{requests: 1, by: [{type: Host}]}]}}":                       "spec.rateLimit.local.limits[0].by[0].type",
	"{local: {limits: [" + strings.Repeat("{requests: 1},", 9) + "]}}":             "spec.rateLimit.local.limits: Too many",
}

// TestRateLimitKind: what the API server makes of limits before any operator sees them.
func TestRateLimitKind(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	specs := map[string]string{}
	for spec, why := range rateLimitSpecs {
		specs["rateLimit: "+spec] = why
	}
	admits(t, c, specs)
	for target, why := range map[string]string{
		"{kind: Gateway, name: a, sectionName: b}": "", "{kind: GRPCRoute, name: a}": "", "{kind: Service, name: a, port: 80}": "",
		"{kind: ServiceAccount, name: a}": "rateLimit is about requests", "{pods: {selector: {matchLabels: {a: b}}}}": "rateLimit is about requests",
	} {
		err := c.Create(t.Context(), policyNamed(t, "p", "{targetRefs: ["+target+"], rateLimit: {local: {limits: [{requests: 5}]}}}"), client.DryRunAll)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v; want %q", target, err, why)
		}
	}
	p := policyNamed(t, "limited", "rateLimit: {local: {limits: [{requests: 5}]}}")
	create(t, c, p)
	if l := p.Spec.RateLimit.Local; l.Headers != "Draft03" || l.Limits[0].Per != "1s" {
		t.Errorf("by default: %+v", *l)
	}
	p = policyNamed(t, "shadowed", "{mode: Shadow, rateLimit: {local: {limits: [{requests: 5}]}}}")
	if err := c.Create(t.Context(), p, client.DryRunAll); err == nil || p.Spec.Mode != v1alpha1.PolicyShadow {
		t.Errorf("in Shadow: %v", err)
	}
}
