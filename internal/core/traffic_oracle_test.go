package core

import (
	"fmt"
	"maps"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
)

// traffic are the sections about traffic that a random policy has.
var traffic = []string{
	"timeout: {request: 1s}", "timeout: {request: 2s, idle: 1m}", "timeout: {connect: 1s}",
	"loadBalancing: {algorithm: Random}", "loadBalancing: {algorithm: Maglev, hash: [{type: Header, name: a}]}, timeout: {request: 1s}",
	"retry: {}", "retry: {attempts: 0}", "hedging: {delay: 1s}, retry: {codes: [503]}",
	"locality: {}", "locality: {prefer: [rack], minEndpoints: 2}", "locality: {weights: [{from: eu, to: [{region: us, percent: 100}]}]}, timeout: {request: 1s}",
	"circuitBreaker: {maxRequests: 5}", "circuitBreaker: {maxRetries: 1}, timeout: {stream: 1h}",
	"rateLimit: {local: {limits: [{requests: 5}]}}", "rateLimit: {local: {limits: [{requests: 1, by: [{type: Caller}]}]}}, timeout: {request: 1s}",
	"match: {nodeSelector: {matchLabels: {rack: r1}}}", "match: {from: [{namespace: a}], nodeSelector: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: NotIn, values: [a]}]}}",
	"match: {cel: \"request.method == 'GET'\"}, retry: {}", "match: {cel: \"caller.region == 'eu' && caller.namespace != 'a'\"}", "match: {cel: \"request.verb\", from: [{namespace: a}]}",
	"rateLimit: {global: {limits: [{requests: 5}]}}", "rateLimit: {global: {limits: [{requests: 7}, {requests: 1, by: [{type: Caller}]}]}, local: {limits: [{requests: 2}]}}",
	"jwt: {providers: [{name: a, issuer: a, jwks: {inline: '" + tokenKeys + "'}}]}", "jwt: {providers: [{name: b, issuer: b, jwks: {remote: {uri: 'https://b/'}}}]}, timeout: {request: 1s}",
	"apiKey: {secretRefs: [{name: x}]}", "apiKey: {secretRefs: [{name: u}, {name: x}], clientHeader: x-a}, basicAuth: {secretRef: {name: x, key: ca.crt}, realm: x}",
	"oidc: {provider: {issuer: 'https://a'}, clientID: a, clientSecretRef: {name: x, key: a}, redirectPath: /a, logoutPath: /b}", "oidc: {provider: {authorizationEndpoint: 'https://a/', tokenEndpoint: 'https://a/', caCertificateRefs: [{name: x}]}, clientID: b, clientSecretRef: {name: u, key: a}, redirectPath: /b, logoutPath: /c}, timeout: {request: 1s}",
	"authorization: {rules: [{name: a, from: [{namespace: a}]}]}", "authorization: {rules: [{name: d, action: Deny, to: [{methods: [PUT]}]}], roles: [{name: r, may: [{ports: [80]}], heldBy: [{gateway: {namespace: a, name: x}}]}]}, timeout: {request: 1s}",
	"mode: Shadow, authorization: {rules: [{name: a, from: [{namespace: a}]}, {name: d, action: Deny, to: [{paths: [{exact: /x}]}]}]}",
	"mode: Shadow, authorization: {rules: [{name: s, when: [{attribute: jwt.subject, operator: Exists}]}]}, jwt: {providers: [{name: a, issuer: a, claims: [{path: [a]}], claimHeaders: [{path: [sub], header: x-a}], jwks: {inline: '" + tokenKeys + "'}}]}",
	`authorization: {rules: [{name: t, when: [{attribute: "request.headers[x-a]", operator: In, data: {configMapRef: {name: x, key: a.data.yaml}, path: [a]}}]}, {name: u, when: [{attribute: jwt.subject, operator: NotIn, data: {configMapRef: {name: u, key: a.data.yaml}, path: [c], by: "destination.labels[app]"}}]}]}`,
	"authorization: {rego: {configMapRef: {name: x, key: a.rego}}}", "mode: Shadow, authorization: {rules: [{name: b}], rego: {configMapRef: {name: u, key: a.rego}}}",
	`authorization: {rules: [{name: l, when: [{attribute: "destination.labels[app]", operator: In, values: [x]}]}]}`,
	"extAuth: {protocol: GRPC, backendRef: {name: x, port: 80}}", "extAuth: {protocol: HTTP, backendRef: {name: u, namespace: b, port: 80}, failOpen: true, http: {path: /c}}, timeout: {request: 1s}",
	"match: {claims: [{path: [a], values: [b]}]}", "match: {claims: [{path: [a]}], cel: \"request.method == 'GET'\"}, jwt: {providers: [{name: c, issuer: c, jwks: {inline: '" + tokenKeys + "'}}]}",
	`fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 503}, claims: [{path: [a], bool: true}]}`,
	"match: {from: [{namespace: a}]}", "match: {from: [{namespace: b, serviceAccount: x}]}, timeout: {request: 1s}",
	"admissionControl: {}", "admissionControl: {successRateThreshold: 50}, retry: {}", "admissionControl: {disabled: true}",
	`fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 503}}`, `fault: {until: "2090-01-01T00:00:00Z", delay: {duration: 1s}, from: [{namespace: a}]}, retry: {}`,
	"outlierDetection: {}", "outlierDetection: {consecutive5xx: 2}, circuitBreaker: {maxRequests: 5}", "healthCheck: {http: {path: /}}", "compression: {}, timeout: {request: 1s}",
	`extensions: [{name: a, lua: {source: "function envoy_on_request(h) end"}}, {name: b, extProc: {backendRef: {name: x, port: 80}}}]`,
	`extensions: [{name: a, failOpen: true, lua: {configMapRef: {name: u, key: a.lua}}}, {name: b, failOpen: true, extProc: {backendRef: {name: u, namespace: b, port: 80}}}]`,
	"extensions: [{name: a, wasm: {configMapRef: {name: u, key: a.wasm}}}]",
	`extensions: [{name: a, failOpen: true, wasm: {configMapRef: {name: x, key: a.wasm}, config: {a: b}}}, {name: b, extProc: {backendRef: {name: x, port: 80}}}], timeout: {request: 1s}`,
}

// trafficPolicy is a random MeshPolicy with sections about traffic.
func (h chance) trafficPolicy() string {
	ns, name := h.of("a", "b", "weft-system"), h.of("x", "u", "z")
	gone := ""
	if h.Intn(4) == 0 {
		gone = `, annotations: {delete: ""}`
	}
	target := h.of("{kind: Service, name: x}", "{kind: Service, name: u, sectionName: http}", "{kind: Service, name: x, port: 80}", "{kind: ServiceAccount, name: x}",
		"{kind: Gateway, name: x}", "{kind: Gateway, name: x, sectionName: one}", "{kind: HTTPRoute, name: x}", "{kind: HTTPRoute, name: u, sectionName: first}", "{kind: GRPCRoute, name: x}")
	return fmt.Sprintf("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: %s, namespace: %s, uid: %s%s, creationTimestamp: \"2026-01-0%sT00:00:00Z\"%s}\nspec: {%s%s}\n",
		name, ns, ns, name, h.of("1", "2"), gone, h.of("", "targetRefs: ["+target+"], "), traffic[h.Intn(len(traffic))])
}

// governed are the kinds of objects by which requests come to Services.
var governed = []int{0, 1, 1, 3, 3, 4, 5, 8, 11, 18, 29, 31, 33}

func (h chance) governedWorld() string {
	if h.Intn(3) == 0 {
		return h.trafficPolicy()
	}
	return h.object(governed[h.Intn(len(governed))])
}

// TestOracleOfTraffic: the same of a world of routes, Services and policies about their traffic.
func TestOracleOfTraffic(t *testing.T) {
	consult(t, true, chance.governedWorld)
}

// TestPolicyTouchesItsOwn: a policy about traffic that comes, changes or goes alters no resource but those that
// it shapes or shaped itself, what a Route or Cluster of these needs, and what is said of policies.
func TestPolicyTouchesItsOwn(t *testing.T) {
	for seed := range int64(30) {
		h := chance{rand.New(rand.NewSource(seed)), true}
		w := newWorld(t)
		w.text = wholeText
		for range 60 {
			put(t, w.core, []byte(h.governedWorld()))
		}
		w.commit()
		for range 20 {
			text := h.trafficPolicy()
			policy := keyIn.FindStringSubmatch(text)
			before, own := maps.Clone(w.seen), shapedNames(w.core, policy[2]+"/"+policy[1])
			put(t, w.core, []byte(text))
			w.commit()
			maps.Copy(own, shapedNames(w.core, policy[2]+"/"+policy[1]))
			for what, text := range w.seen {
				if text != before[what] && !own[what] && !strings.HasPrefix(what, "status MeshPolicy ") && !brought(what, before[what]) && !hasModule(what, text+before[what]) {
					t.Fatalf("seed %d: %s is altered by a policy that is not about it:\n%s\n%s", seed, what, before[what], text)
				}
			}
		}
	}
}

// keyIn finds the name and the namespace of an object.
var keyIn = regexp.MustCompile(`metadata: \{name: ([^,]+), namespace: ([^,]+),`)

// brought says whether something is there because a Route sends by it, or asks, now: a cluster, as it has its own
// retries or has them no more, with its endpoints, and that some scope sees it. What sessions reach over several
// Services has what these say alike, by policies or by themselves: one that is about one of them ends that.
func brought(what, before string) bool {
	return strings.HasPrefix(what, "cluster session/") || strings.HasPrefix(what, "endpoints session/") || strings.HasPrefix(what, "scope ") || (strings.HasPrefix(what, "cluster ") || strings.HasPrefix(what, "endpoints ")) && before == ""
}

// hasModule says whether a listener has, or had, a filter of a policy's own.
func hasModule(what, text string) bool {
	return strings.HasPrefix(what, "listener ") && strings.Contains(text, "policy/extensions/")
}

// shapedNames are the resources that a policy shapes, as stories name them.
func shapedNames(c *Core, policy string) map[string]bool {
	out := map[string]bool{}
	for r, by := range c.policies.by {
		for _, k := range []mesh.Kind{mesh.KindCluster, mesh.KindVirtualHost, mesh.KindRoutes, mesh.KindExtension, mesh.KindEndpoints} {
			if slices.Contains(by, policy) && slices.Contains([]string{typeURL(k)}, r.Type) {
				out[string(k)+" "+r.Name.Name] = true
				own(out, r.Name.Name)
				if r.Name.Name == mesh.Guards { // beside which what is no request is let in nowhere
					out["listener inbound of "+string(r.Variant)], out["listener inbound-node of "+string(r.Variant)] = true, true
				}
				if r.Variant != "" {
					out[string(k)+" "+r.Name.Name+" of "+string(r.Variant)] = true
				}
			}
		}
	}
	return out
}

// own adds the listener that has a filter which routes share.
func own(out map[string]bool, filter string) {
	if routes := strings.SplitN(filter, "/", 7); mesh.IsShared(filter) {
		out["listener "+strings.Join(routes[2:6], "/")] = true
	}
	if routes, is := mesh.IsQuota(filter); is {
		out["listener "+strings.Join(strings.SplitN(routes, "/", 5)[:4], "/")] = true
	}
}
