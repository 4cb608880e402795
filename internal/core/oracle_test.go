package core

import (
	"encoding/base64"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/xds"

	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// chance makes random objects of a small world, in which everything refers to anything.
type chance struct {
	*rand.Rand
	narrow bool // only the first two of all choices, so that more of it meets
}

func (h chance) of(xs ...string) string {
	if h.narrow {
		xs = xs[:min(len(xs), 2)]
	}
	return xs[h.Intn(len(xs))]
}

// object is one of some kind, by its number below.
func (h chance) object(kind int) string {
	ns, name := h.of("a", "b"), h.of("x", "u", "z")
	head := func(api, kind string) string {
		gone := ""
		if h.Intn(5) == 0 {
			gone = `, annotations: {delete: ""}`
		}
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s, uid: %s%s, creationTimestamp: 2026-01-0%dT00:00:00Z, labels: {kubernetes.io/service-name: %s, endpointslice.kubernetes.io/managed-by: %s}%s}\n",
			api, kind, name, ns, ns, name, 1+h.Intn(3), h.of("x", "u", "z"), h.of("endpointslice-controller.k8s.io", "other"), gone)
	}
	switch kind {
	case 8:
		return fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {topology.kubernetes.io/region: %s, topology.kubernetes.io/zone: %q, rack: r1}}\nspec: {podCIDRs: [%s]}", h.of("one", "two"), h.of("eu", "us"), h.of("a", "b", ""), h.of("10.0.0.0/24", "10.0.1.0/24", ""))
	case 9, 10:
		return h.policy()
	case 29:
		return head("split.smi-spec.io/v1alpha4", "TrafficSplit") + h.split()
	case 30:
		return head("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup") + h.matches()
	case 22, 23, 24:
		return head("gateway.networking.k8s.io/v1", "ListenerSet") + h.listeners()
	case 25:
		return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {sets: %q}}", h.of("a", "b"), h.of("open", "shut"))
	case 0:
		return head("gateway.networking.k8s.io/v1", "Gateway") + fmt.Sprintf("spec: {gatewayClassName: %s%s, allowedListeners: {namespaces: {from: %s, selector: {matchLabels: {sets: open}}}}, listeners: [{name: one, port: %s, protocol: %s, hostname: %q, allowedRoutes: {namespaces: {from: %s}}}, {name: two, port: 80, protocol: HTTP}, {name: udp, port: %s, protocol: UDP, allowedRoutes: {namespaces: {from: All}}}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: x}]}}, {name: through, port: 443, protocol: TLS, hostname: %q, tls: {mode: %s, certificateRefs: [{name: x}]}, allowedRoutes: {namespaces: {from: All}}}]}",
			h.of("weft", "weft", "other"), h.gatewayTLS(), h.of("All", "Selector", "All", "Same", "None"), h.of("80", "8080"), h.of("HTTP", "HTTP", "TCP"), h.of("*.example", "w.example", ""), h.of("All", "Same"), h.of("80", "443"), h.of("*.example", "w.example", ""), h.of("Passthrough", "Terminate"))
	case 1, 2:
		return head("gateway.networking.k8s.io/v1", "HTTPRoute") + fmt.Sprintf("spec: {parentRefs: [{name: %s, namespace: %s%s}, "+h.set()+", "+h.service()+"], hostnames: [%q, w.example], rules: [{matches: [{path: {type: %s, value: %q}}], backendRefs: [{name: %s, namespace: %s, port: %s, weight: %d}, {name: x, port: 80}]"+h.of("", ", sessionPersistence: {}", ", sessionPersistence: {type: Header, absoluteTimeout: 1h}")+h.auth()+"}, {matches: [{path: {value: /q}}], backendRefs: [{name: u, port: 80}]}]}",
			h.of("x", "u", "z"), h.of("a", "b"), h.of("", ", sectionName: one", ", port: 80"), h.of("*.example", "v.example"), h.of("PathPrefix", "RegularExpression"), h.of("/", "/p", "/("), h.of("x", "u", "z"), h.of("a", "b"), h.of("80", "81"), h.Intn(3))
	case 11, 12:
		return head("gateway.networking.k8s.io/v1", "GRPCRoute") + fmt.Sprintf("spec: {parentRefs: [{name: %s, namespace: %s}, "+h.set()+", "+h.service()+"], hostnames: [%q], rules: [{matches: [{method: {type: %s, service: %q}}], backendRefs: [{name: %s, namespace: %s, port: 80}]}]}",
			h.of("x", "u", "z"), h.of("a", "b"), h.of("*.example", "v.example", "w.example", "deep.v.example"), h.of("Exact", "RegularExpression"), h.of("p", "("), h.of("x", "u", "z"), h.of("a", "b"))
	case 13, 14:
		return head("gateway.networking.k8s.io/v1", "TLSRoute") + fmt.Sprintf("spec: {parentRefs: [{name: %s, namespace: %s}, "+h.set()+", "+h.service()+"], hostnames: [%q, w.example], rules: [{backendRefs: [{name: %s, namespace: %s, port: 80}, {name: x, port: 81, weight: %d}]}]}",
			h.of("x", "u", "z"), h.of("a", "b"), h.of("*.example", "v.example", "other"), h.of("x", "u", "z"), h.of("a", "b"), h.Intn(2))
	case 26, 27, 28:
		return head("gateway.networking.k8s.io/v1", h.of("TCPRoute", "UDPRoute")) + fmt.Sprintf("spec: {parentRefs: [{name: %s, namespace: %s%s}, "+h.set()+", "+h.service()+"], rules: [{backendRefs: [{name: %s, namespace: %s, port: %s, weight: %d}, {name: x, port: 80}]}]}",
			h.of("x", "u", "z"), h.of("a", "b"), h.of("", ", sectionName: one", ", sectionName: udp", ", sectionName: through"), h.of("x", "u", "z"), h.of("a", "b"), h.of("80", "81"), h.Intn(3))
	case 16, 17:
		return head("gateway.networking.k8s.io/v1", "BackendTLSPolicy") + fmt.Sprintf("spec: {targetRefs: [{kind: %s, name: %s%s}, {kind: Service, name: x}], validation: {hostname: %s, %s}}",
			h.of("Service", "Service", "Service", "ServiceAccount"), h.of("x", "u", "z"), h.of("", "", ", sectionName: http", ", sectionName: tcp"), h.of("v.example", "w.example"),
			h.of("caCertificateRefs: [{kind: ConfigMap, name: x}]", "caCertificateRefs: [{kind: ConfigMap, name: u}]", "caCertificateRefs: [{kind: ConfigMap, name: u}, {kind: Secret, name: x}]", "wellKnownCACertificates: System"))
	case 31, 32:
		return head("gateway.networking.x-k8s.io/v1alpha1", "XBackendTrafficPolicy") + fmt.Sprintf("spec: {targetRefs: [{kind: %s, name: %s}, {kind: Service, name: x}]%s%s}",
			h.of("Service", "Service", "ServiceImport"), h.of("x", "u", "z"), h.of("", ", retryConstraint: {budget: {percent: 5}}", ", retryConstraint: {}"), h.of("", ", sessionPersistence: {}", ", sessionPersistence: {sessionName: s}"))
	case 18, 19:
		return head("v1", "ConfigMap") + h.of("data: {}", "data: {a.rego: 'package weft.v1\n\nallow if input.destination.labels.app == \"x\"'}", "data: {a.rego: 'package weft.v1\n\ndeny if lower(input.request.path) == input.request.host'}", "data: {ca.crt: wrong}", "binaryData: {a.wasm: "+smallModule()+"}", "data: {a.data.yaml: 'a: [b]'}", "data: {a.data.yaml: 'a: [b], c: {d: e}'}", "data: {a.data.yaml: 'c: {d: [b, f]}'}", authority(), authority(), authority())
	case 15:
		return head("v1", "Secret") + "type: kubernetes.io/tls\n" + h.of(keyPair(), strings.Replace(keyPair(), "{", "{ca.crt: "+certificate()+", ", 1))
	case 33:
		return head("v1", "Secret") + "type: " + h.of("mesh.weft.dev/credentials", "mesh.weft.dev/credentials", "Opaque") + "\ndata: " + h.of("{}", "{x: eA==}", "{x: eA==, u: eA==}", "{u: eQ==, ca.crt: "+aUser+"}")
	case 3, 20, 21:
		return head("v1", "Service") + fmt.Sprintf("spec: {ports: [{name: %s, port: %s, targetPort: %s}, {name: %s, port: 80, protocol: UDP}], type: %s, clusterIPs: [%q], selector: {kubernetes.io/service-name: %s}, trafficDistribution: %s}",
			h.of("http", "http", "tcp", "other"), h.of("80", "81"), h.of("web", "8080"), h.of("http", "udp"), h.of("ClusterIP", "ClusterIP", "ExternalName"), h.of("10.1.0.1", "10.1.0.2", "None"), h.of("x", "u"), h.of("PreferSameNode", "PreferClose", "\"\""))
	case 4:
		return head("discovery.k8s.io/v1", "EndpointSlice") + fmt.Sprintf("addressType: %s\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.%d], conditions: {ready: %s}, targetRef: {kind: Pod, name: x, uid: ax}}, {addresses: [10.0.0.%d], nodeName: %s, zone: a, conditions: {ready: %s, serving: false}}]", h.of("IPv4", "IPv6"), h.Intn(4), h.of("true", "false"), h.Intn(4), h.of("one", "two"), h.of("true", "false"))
	case 5:
		return head("v1", "Pod") + fmt.Sprintf("spec: {serviceAccountName: %s, nodeName: %q, initContainers: [{name: %s}], containers: [{name: app, ports: [{name: web, containerPort: %s}]}]}\nstatus: {conditions: [{type: Ready, status: %q}, {type: ContainersReady, status: %q}], podIPs: [{ip: 10.0.0.%d}]}\n",
			h.of("x", "u"), h.of("one", "two", ""), h.of("weft-proxy", "other"), h.of("80", "8080"), h.of("True", "False"), h.of("True", "False"), h.Intn(4))
	case 6:
		return head("gateway.networking.k8s.io/v1", "ReferenceGrant") + fmt.Sprintf("spec: {from: [{group: gateway.networking.k8s.io, kind: %s, namespace: %s}], to: [{group: \"\", kind: %s}]}", h.of("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "ListenerSet", "Gateway", "Gateway"), h.of("a", "b"), h.of("Service", "ConfigMap", "Secret"))
	}
	gone := ""
	if h.Intn(4) == 0 {
		gone = `, annotations: {delete: ""}`
	}
	return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weft%s}\nspec: {controllerName: mesh.weft.dev/gateway-controller}", gone)
}

// gatewayTLS is what a Gateway asks of its clients, and shows to backends.
func (h chance) gatewayTLS() string {
	validation := func() string {
		return fmt.Sprintf("validation: {mode: %s, caCertificateRefs: [{kind: %s, name: %s, namespace: %s}]}",
			h.of("AllowValidOnly", "AllowInsecureFallback"), h.of("ConfigMap", "ConfigMap", "Secret", "Service"), h.of("x", "u", "z"), h.of("a", "b"))
	}
	frontend := h.of("frontend: {default: {"+validation()+"}}", "frontend: {default: {}, perPort: [{port: 443, tls: {"+validation()+"}}]}")
	backend := fmt.Sprintf("backend: {clientCertificateRef: {kind: %s, name: %s, namespace: %s}}", h.of("Secret", "Secret", "Secret", "ConfigMap"), h.of("x", "u", "z"), h.of("a", "b"))
	return h.of("", ", tls: {"+frontend+"}", ", tls: {"+backend+"}", ", tls: {"+frontend+", "+backend+"}")
}

// keyPair is the data of a Secret: that of a story, for keys made here would differ from run to run.
var keyPair = sync.OnceValue(func() string {
	return string(regexp.MustCompile("data: {tls.crt: LS.*}").Find(must(os.ReadFile("testdata/certificates.txtar"))))
})

// aUser is a line of a file of users, as a Secret has it.
const aUser = "YW5uOntTSEF9NWVuNkc2TWV6UnJvVDNYS3FrZFBPbVkvQmZRPQo="

// certificate is that of keyPair, as a Secret has it.
func certificate() string {
	return strings.Fields(strings.NewReplacer(",", " ").Replace(keyPair()))[2]
}

// authority is the data of a ConfigMap: the same.
var authority = sync.OnceValue(func() string {
	return fmt.Sprintf("data: {ca.crt: %q}", must(base64.StdEncoding.DecodeString(certificate())))
})

// smallModule is one, as a ConfigMap has it.
func smallModule() string { return base64.StdEncoding.EncodeToString([]byte(roomtest.Module)) }

// service is a parentRef that names a Service.
func (h chance) service() string {
	return fmt.Sprintf("{group: '', kind: Service, name: %s, namespace: %s%s}", h.of("x", "u", "z"), h.of("a", "b"), h.of("", ", port: 80", ", port: 81", ", sectionName: http"))
}

// set is a parentRef that names a ListenerSet.
func (h chance) set() string {
	return fmt.Sprintf("{kind: ListenerSet, name: %s, namespace: %s%s}", h.of("x", "u", "z"), h.of("a", "b"), h.of("", "", ", sectionName: one", ", port: 443"))
}

// listeners are the spec of a ListenerSet, whose listeners clash with a Gateway's, with other sets' and
// with each other.
func (h chance) listeners() string {
	return fmt.Sprintf("spec: {parentRef: {name: %s, namespace: %s}, listeners: [{name: one, port: %s, protocol: %s, hostname: %q, allowedRoutes: {namespaces: {from: %s}}}, {name: two, port: %s, protocol: HTTPS, hostname: %q, tls: {certificateRefs: [{name: x, namespace: %s}]}, allowedRoutes: {namespaces: {from: All}}}, {name: three, port: 443, protocol: TLS, hostname: %q, tls: {mode: Passthrough}}, {name: four, port: %s, protocol: UDP, allowedRoutes: {namespaces: {from: All}}}]}",
		h.of("x", "u"), h.of("a", "b"), h.of("80", "8080", "81"), h.of("HTTP", "TCP"), h.of("*.example", "v.example", "w.example", ""), h.of("All", "Same"),
		h.of("443", "443", "80"), h.of("w.example", "v.example", ""), h.of("a", "b"), h.of("w.example", "*.example", "deep.v.example"), h.of("443", "80"))
}

// policy is a random MeshPolicy, about a namespace, the mesh or some targets.
func (h chance) policy() string {
	ns, name := h.of("a", "b", "weft-system"), h.of("x", "u", "z")
	gone := ""
	if h.Intn(5) == 0 {
		gone = `, annotations: {delete: ""}`
	}
	target := h.of(
		"{kind: Service, name: x}", "{kind: Service, name: x, sectionName: http}", "{kind: Service, name: x, port: 80}",
		"{kind: ServiceAccount, name: x}", "{pods: {selector: {matchLabels: {app: x}}}}", "{pods: {selector: {matchLabels: {app: u}}}}",
		"{kind: Gateway, name: x, sectionName: one}", "{kind: HTTPRoute, name: u}",
	)
	targets := h.of("", "targetRefs: ["+target+"], ", "targetRefs: [{kind: Service, name: u}, "+target+"], ")
	return fmt.Sprintf("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: %s, namespace: %s, uid: %s%s, creationTimestamp: \"2026-01-0%sT00:00:00Z\"%s}\nspec: {%smode: %s%s}\n",
		name, ns, ns, name, h.of("1", "2"), gone, targets, h.of("Enforce", "Enforce", "Shadow"),
		h.of(", mtls: {mode: Strict}", ", mtls: {mode: Permissive}", ", egress: {mode: Deny}", ", egress: {mode: Allow}, mtls: {mode: Strict}",
			", jwt: {providers: [{name: a, issuer: a, jwks: {configMapRef: {name: x, key: jwks.json}}}]}", ", jwt: {providers: [{name: a, issuer: b, jwks: {inline: '"+tokenKeys+"'}}]}, mtls: {mode: Permissive}",
			", extAuth: {protocol: HTTP, backendRef: {name: x, port: 80}}", ", extAuth: {protocol: GRPC, backendRef: {name: u, namespace: b, port: 80}}, mtls: {mode: Strict}",
			", locality: {}", ", locality: {prefer: [rack, topology.kubernetes.io/zone], minEndpoints: 2}", ", locality: {weights: [{from: eu, to: [{region: us, percent: 100}]}]}",
			", serverTLS: {hostnames: [v.example], certificateRefs: [{name: x}], unguarded: Accept}", ", serverTLS: {hostnames: [w.example], certificateRefs: [{name: u}, {name: x}]}"))
}

// again is a new Core given everything that c holds, at once.
func again(c *Core) *Core {
	f := New(xds.NewStore(nil), xds.NewFacts())
	f.tables.Graph.Commit(func() { copyTables(c.tables, f.tables) })
	return f
}

// demand is a sidecar that asks for an address, or no longer does.
func demand(c *Core, address string, wanted bool) {
	if wanted {
		cluster.Put(c.Inbox(), c.tables.Demands, address, struct{}{})
	} else {
		cluster.Delete(c.Inbox(), c.tables.Demands, address)
	}
}

// wholeText tells two resources apart that differ in anything: its version is a hash of all of it.
// The text for who reads is made once of each.
func wholeText(t *testing.T, r *discovery.Resource) string {
	if r == nil {
		return ""
	}
	text, known := texts[r.Version]
	if !known {
		text = r.Version + "\n" + resourceText(t, r)
		texts[r.Version] = text
	}
	return text
}

var texts = map[string]string{}

// TestOracle: after any history of changes, what is published and said is what a Core that
// starts now would publish and say.
func TestOracle(t *testing.T) {
	consult(t, false, func(h chance) string { return h.object(h.Intn(33)) })
}

// target is a TrafficTarget, or something that one may name.
func (h chance) target() string {
	meta := func(kind, names string) string {
		gone := ""
		if h.Intn(5) == 0 {
			gone = `, annotations: {delete: ""}`
		}
		return fmt.Sprintf("kind: %s\nmetadata: {name: %s, namespace: %s%s}\n", kind, names, h.of("a", "b"), gone)
	}
	switch h.Intn(4) {
	case 0:
		return "apiVersion: specs.smi-spec.io/v1alpha4\n" + meta("HTTPRouteGroup", h.of("x", "u")) + fmt.Sprintf("spec: {matches: [{name: one, methods: [%s], pathRegex: %q}, {name: two, headers: {x-a: %q}}]}",
			h.of("GET", "'*'"), h.of("/a", "/(", ""), h.of(".*", "("))
	case 1:
		return "apiVersion: specs.smi-spec.io/v1alpha4\n" + meta(h.of("TCPRoute", "UDPRoute"), h.of("x", "u")) + fmt.Sprintf("spec: {matches: {ports: [%s]}}", h.of("", "80", "80, 8080"))
	}
	return "apiVersion: access.smi-spec.io/v1alpha3\n" + meta("TrafficTarget", h.of("x", "u", "z")) + fmt.Sprintf("spec: {destination: {kind: %s, name: %s, namespace: %s}, sources: [{kind: ServiceAccount, name: %s, namespace: %s}], rules: [{kind: %s, name: %s%s}, {kind: HTTPRouteGroup, name: u}]}",
		h.of("ServiceAccount", "ServiceAccount", "Group"), h.of("x", "u"), h.of("a", "b", "''"), h.of("x", "u", "X"), h.of("a", "b"), h.of("HTTPRouteGroup", "TCPRoute", "UDPRoute"), h.of("x", "u"), h.of("", ", matches: [one]", ", matches: [three]"))
}

// TestOracleOfTargets: the same of a world of pods, Services, policies, and TrafficTargets with what they name.
func TestOracleOfTargets(t *testing.T) {
	kinds := []int{3, 5, 5, 9}
	consult(t, true, func(h chance) string {
		if h.Intn(3) > 0 {
			return h.target()
		}
		return h.object(kinds[h.Intn(len(kinds))])
	})
}

// TestOracleOfLocalities: the same of a world of Nodes, the pods on them, Services and policies.
func TestOracleOfLocalities(t *testing.T) {
	kinds := []int{3, 3, 4, 4, 5, 5, 8, 8, 9}
	consult(t, true, func(h chance) string { return h.object(kinds[h.Intn(len(kinds))]) })
}

// TestOracleOfListenerSets: the same of a world of Gateways, ListenerSets and what these read.
func TestOracleOfListenerSets(t *testing.T) {
	kinds := []int{0, 0, 1, 6, 7, 11, 13, 15, 15, 22, 22, 22, 22, 22, 25, 26, 27}
	consult(t, true, func(h chance) string { return h.object(kinds[h.Intn(len(kinds))]) })
}

func consult(t *testing.T, narrow bool, object func(chance) string) {
	seeds := int64(40)
	if os.Getenv("WEFT_LONG") == "1" {
		seeds = 1000
	}
	for seed := range seeds {
		h := chance{rand.New(rand.NewSource(seed)), narrow && seed%2 == 0}
		w := newWorld(t)
		w.text = wholeText
		for step := range 60 {
			for range 1 + h.Intn(3) {
				put(t, w.core, []byte(object(h)))
			}
			demand(w.core, fmt.Sprintf("10.0.0.%d:80", h.Intn(4)), h.Intn(3) > 0)
			w.commit()
			if step%6 != 5 {
				continue
			}
			f := &world{t, again(w.core), map[string]string{}, wholeText}
			f.commit() // publishes what again set
			if a, b := fmt.Sprint(w.seen), fmt.Sprint(f.seen); a != b {
				for k, v := range w.seen {
					if f.seen[k] != v {
						t.Errorf("%s\nincremental %q\nfrom scratch %q", k, v, f.seen[k])
					}
				}
				for k := range f.seen {
					if _, ok := w.seen[k]; !ok {
						t.Errorf("%s is missing", k)
					}
				}
				t.Fatalf("seed %d, step %d", seed, step)
			}
			if a, b := w.core.Quota.String(), f.core.Quota.String(); a != b {
				t.Fatalf("seed %d, step %d: the quota service counts\n%s\nfrom scratch\n%s", seed, step, a, b)
			}
		}
	}
}

// auth is an ExternalAuth of a rule, or none, by servers that may not be there and words that may be wrong.
func (h chance) auth() string {
	return h.of("", "", fmt.Sprintf(", filters: [{type: ExternalAuth, externalAuth: {protocol: %s, backendRef: {name: %s, port: %s}, http: {path: %s}}}]",
		h.of("HTTP", "GRPC", "other"), h.of("x", "u"), h.of("80", "81"), h.of("/check", "/../check")))
}
