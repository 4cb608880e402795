package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
)

func policyNamed(t *testing.T, name, spec string) *v1alpha1.MeshPolicy {
	t.Helper()
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return p
}

// TestMeshPolicyKind: what the API server makes of a MeshPolicy before any operator sees it, and
// how it is listed after one has.
func TestMeshPolicyKind(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	for _, specs := range []map[string]string{policySpecs, retrySpecs, compressionSpecs, matchSpecs, admissionControlSpecs, localitySpecs, jwtSpecs, authorizationSpecs, credentialsSpecs, extAuthSpecs, oidcSpecs} {
		admits(t, c, specs)
	}
	p := policyNamed(t, "strict", "mtls: {mode: Strict}")
	create(t, c, p)
	if p.Spec.Mode != v1alpha1.PolicyEnforce {
		t.Errorf("mode by default: %q", p.Spec.Mode)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	if ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Status != metav1.ConditionUnknown {
		t.Errorf("a fresh MeshPolicy counts as ready: %+v", p.Status)
	}
	writePolicyStatus(t, config, c, p)
	row := listed(t, config)
	if want := []string{"strict", "True", "Enforced", "Enforce", "3/3"}; !slices.Equal(row[:len(want)], want) {
		t.Errorf("listed as %v; want %v", row, want)
	}
}

// admits wants the API server to say of each spec what it has beside it, or to take it where that is nothing.
func admits(t *testing.T, c client.Client, specs map[string]string) {
	t.Helper()
	for spec, why := range specs {
		err := c.Create(t.Context(), policyNamed(t, "p", spec), client.DryRunAll)
		switch {
		case why == "" && err != nil:
			t.Errorf("%s: %v", spec, err)
		case why != "" && (err == nil || !strings.Contains(err.Error(), why)):
			t.Errorf("%s: %v; want %q", spec, err, why)
		}
	}
}

// policySpecs are specs, each with what the API server says of it; nothing if it takes it.
// digest is one of SHA-256.
const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var policySpecs = map[string]string{
	"mtls: {mode: Strict}": "",
	"outlierDetection: {}": "",
	"outlierDetection: {consecutive5xx: 0, failurePercentage: {}}":                                               "",
	"outlierDetection: {consecutive5xx: 0}":                                                                      "leaves nothing by which a pod is found to fail",
	"outlierDetection: {maxEjectionTime: 20s}":                                                                   "maxEjectionTime is less than baseEjectionTime",
	"outlierDetection: {maxEjectionTime: 20s, baseEjectionTime: 20s}":                                            "",
	"outlierDetection: {maxEjectionPercent: 0}":                                                                  "spec.outlierDetection.maxEjectionPercent",
	"outlierDetection: {interval: 1ms}":                                                                          "set at least 100ms",
	"{targetRefs: [{kind: Gateway, name: a}], outlierDetection: {}}":                                             "outlierDetection is about what is sent to Services",
	"{mode: Shadow, outlierDetection: {}}":                                                                       "Shadow is for",
	"healthCheck: {}":                                                                                            "set one of http, tcp and grpc",
	"healthCheck: {grpc: {}}":                                                                                    "",
	"healthCheck: {grpc: {}, http: {path: /}}":                                                                   "set one of http, tcp and grpc",
	"healthCheck: {http: {path: healthz}}":                                                                       "spec.healthCheck.http.path",
	"healthCheck: {http: {path: /, expectedStatuses: [{start: 200, end: 199}]}}":                                 "end is less than start",
	"healthCheck: {tcp: {send: PING}}":                                                                           "spec.healthCheck.tcp.receive",
	"healthCheck: {tcp: {receive: PONG}, timeout: 1m}":                                                           "set 10ms to 10s",
	"{targetRefs: [{kind: HTTPRoute, name: a}], healthCheck: {grpc: {}}}":                                        "healthCheck is about the pods of Services",
	"{targetRefs: [{kind: Service, name: a, port: 80}], circuitBreaker: {maxPendingRequests: 0}}":                "",
	"circuitBreaker: {}":                                                                                         "without a bound does nothing",
	"{mode: Shadow, mtls: {mode: Strict}, egress: {mode: Deny}}":                                                 "",
	"{targetRefs: [], egress: {mode: Allow}}":                                                                    "",
	"{targetRefs: [{kind: Service, name: a}, {kind: ServiceAccount, name: a}], mtls: {mode: Strict}}":            "",
	"{targetRefs: [{kind: Service, name: a, group: \"\", port: 80}], mtls: {mode: Strict}}":                      "",
	"{targetRefs: [{kind: Service, name: a, sectionName: http}], mtls: {mode: Strict}}":                          "",
	"{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}}], egress: {mode: Deny}}":                            "",
	"{targetRefs: [{pods: {selector: {matchExpressions: [{key: a, operator: Exists}]}}}], egress: {mode: Deny}}": "",
	"{targetRefs: [{kind: Service, name: a, port: 443}], serverTLS: {hostnames: [a.example, \"*.b.example\"], certificateRefs: [{name: a}]}}":            "",
	"{targetRefs: [{kind: Service, name: a}], serverTLS: {hostnames: [a.example], certificateRefs: [{name: a}]}}":                                        "serverTLS is about ports of Services",
	"{serverTLS: {hostnames: [a.example], certificateRefs: [{name: a}]}}":                                                                                "serverTLS is about ports of Services",
	"{mode: Shadow, targetRefs: [{kind: Service, name: a, port: 443}], mtls: {mode: Strict}, serverTLS: {hostnames: [a], certificateRefs: [{name: a}]}}": "Shadow is for mtls, egress, authorization and jwt only",
	"{targetRefs: [{kind: Service, name: a, port: 443}], serverTLS: {hostnames: [a, a], certificateRefs: [{name: a}]}}":                                  "each hostname once",
	"{targetRefs: [{kind: Service, name: a, port: 443}], serverTLS: {hostnames: [\"*\"], certificateRefs: [{name: a}]}}":                                 "spec.serverTLS.hostnames[0]",
	"{targetRefs: [{kind: Service, name: a, port: 443}], serverTLS: {hostnames: [a], certificateRefs: []}}":                                              "spec.serverTLS.certificateRefs",
	"loadBalancing: {panicThreshold: 0}": "",
	"{targetRefs: [{kind: Service, name: a, port: 80}], loadBalancing: {algorithm: Maglev, hash: [{type: Header, name: X-User}, {type: Cookie, name: a, ttl: 0s, path: /a}]}}":   "",
	"loadBalancing: {algorithm: RingHash, ringSize: 5000, hash: [{type: QueryParameter, name: \"a b\"}, {type: SourceIP}]}":                                                      "",
	"loadBalancing: {algorithm: ClientSideWeighted, slowStart: {window: 30s, aggression: \"2\", minimumShare: 1}, clientSideWeighted: {metrics: [named_metrics.a], update: 1s}}": "",
	"{mode: Shadow, loadBalancing: {algorithm: Random}}":                           "Shadow is for mtls, egress, authorization and jwt only",
	"{targetRefs: [{kind: Gateway, name: a}], loadBalancing: {algorithm: Random}}": "loadBalancing is about what is sent to Services",
	"loadBalancing: {}":                                                                              "load balancing that says nothing does nothing",
	"loadBalancing: {algorithm: Fastest}":                                                            "spec.loadBalancing.algorithm: Unsupported value",
	"loadBalancing: {algorithm: Maglev}":                                                             "hash is for the algorithms RingHash and Maglev, which need it",
	"loadBalancing: {panicThreshold: 1, hash: [{type: SourceIP}]}":                                   "hash is for the algorithms RingHash and Maglev, which need it",
	"loadBalancing: {algorithm: Maglev, hash: [{type: SourceIP}, {type: Header, name: a}]}":          "one of these at most, and as the last",
	"loadBalancing: {algorithm: Maglev, hash: [{type: Cookie, name: a, ttl: 1h}, {type: SourceIP}]}": "one of these at most, and as the last",
	"loadBalancing: {algorithm: Maglev, hash: [{type: Header}]}":                                     "have a name, and the source's address has none",
	"loadBalancing: {algorithm: Maglev, hash: [{type: SourceIP, name: a}]}":                          "have a name, and the source's address has none",
	"loadBalancing: {algorithm: Maglev, hash: [{type: Header, name: a, ttl: 1h}]}":                   "ttl and path are for a cookie",
	"loadBalancing: {algorithm: Maglev, hash: [{type: Cookie, name: a, path: /}]}":                   "path is that of the cookie that is made",
	"loadBalancing: {algorithm: Maglev, hash: [{type: Cookie, name: \"a b\"}]}":                      "no header or cookie can have such a name",
	"loadBalancing: {algorithm: Random, slowStart: {window: 1s}}":                                    "slowStart is for the algorithms",
	"loadBalancing: {slowStart: {window: 0s}}":                                                       "no time is no slow start",
	"loadBalancing: {slowStart: {window: 1s, aggression: \"0.0\"}}":                                  "aggression is from 0.01 to 100",
	"loadBalancing: {algorithm: RoundRobin, choices: 3}":                                             "choices is for the algorithm LeastRequest",
	"loadBalancing: {algorithm: Random, ringSize: 3}":                                                "ringSize is for the algorithm RingHash",
	"loadBalancing: {algorithm: Random, clientSideWeighted: {update: 1s}}":                           "clientSideWeighted is for the algorithm",
	"loadBalancing: {algorithm: ClientSideWeighted, clientSideWeighted: {update: 1ms}}":              "weights are made every 100ms at most",
	"loadBalancing: {panicThreshold: 72}":                                                            "spec.loadBalancing.panicThreshold",
	"{}":                                                                                             "a policy without a section says nothing",
	"{mode: Shadow}":                                                                                 "Shadow is for mtls, egress, authorization and jwt only",
	"mtls: {mode: Strong}":                                                                           "spec.mtls.mode: Unsupported value",
	"{mode: Try, mtls: {mode: Strict}}":                                                              "spec.mode: Unsupported value",
	`fault: {until: "2030-01-01T00:00:00Z", delay: {duration: 1s}, abort: {httpStatus: 503, percent: 1}, from: [{namespace: a}, {namespace: a, serviceAccount: b}]}`:                                           "",
	`{targetRefs: [{kind: GRPCRoute, name: a, sectionName: b}], fault: {until: "2030-01-01T00:00:00Z", abort: {grpcStatus: 14, fraction: {numerator: 1, denominator: 1000}}, headers: [{name: a, value: b}]}}`: "",
	`{targetRefs: [{kind: Gateway, name: a}], fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503}, claims: [{path: [a], bool: true}]}}`:                                                            "",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503}, claims: [{path: [a], values: [b], contains: [c]}]}`:                                                                                      "a claim is of one type",
	`fault: {abort: {httpStatus: 503}}`:                                                                                                                                                          "spec.fault.until: Required",
	`fault: {until: "2030-01-01T00:00:00Z"}`:                                                                                                                                                     "a fault without delay and abort does nothing",
	`fault: {until: "2030-01-01T00:00:00Z", delay: {duration: 0s}}`:                                                                                                                              "a delay is longer than 0s",
	`fault: {until: "2030-01-01T00:00:00Z", delay: {duration: 2h}}`:                                                                                                                              "and 1h at most",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {percent: 5}}`:                                                                                                                                "set httpStatus or grpcStatus",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503, grpcStatus: 14}}`:                                                                                                           "set httpStatus or grpcStatus",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 200}}`:                                                                                                                           "spec.fault.abort.httpStatus",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503, percent: 0}}`:                                                                                                               "spec.fault.abort.percent",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503, percent: 5, fraction: {numerator: 1}}}`:                                                                                     "percent and fraction say the same",
	`fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503, fraction: {numerator: 101}}}`:                                                                                               "a fraction is more than nothing, and 1 at most",
	`{targetRefs: [{kind: ServiceAccount, name: a}], fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503}}}`:                                                                          "fault is about requests",
	`{targetRefs: [{kind: Gateway, name: a}], fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503}, from: [{namespace: a}]}}`:                                                         "callers are known where they call a Service",
	`{mode: Shadow, fault: {until: "2030-01-01T00:00:00Z", abort: {httpStatus: 503}}}`:                                                                                                           "Shadow is for mtls, egress, authorization and jwt only",
	"{targetRefs: [{kind: HTTPRoute, name: a, sectionName: b}], extensions: [{name: a, lua: {source: x}}, {name: b, failOpen: true, lua: {configMapRef: {name: a, key: a-b.lua}}}]}":             "",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, namespace: b, port: 1}, processingMode: {requestHeaderMode: Skip}, messageTimeout: 10s}}]}": "",
	"extensions: [{name: a, lua: {source: x}}]":                                                                                                                                                  "extensions are about some requests, not about all of a namespace or the mesh",
	"{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}}], extensions: [{name: a, lua: {source: x}}]}":                                                                                       "extensions are about some requests",
	"{mode: Shadow, targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x}}]}":                                                                                          "Shadow is for mtls, egress, authorization and jwt only",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x}}, {name: a, lua: {source: x}}]}":                                                                           "each extension has a name of its own",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: A, lua: {source: x}}]}":                                                                                                        "spec.extensions[0].name",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a}]}":                                                                                                                          "an extension is one thing",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x}, extProc: {backendRef: {name: a, port: 1}}}]}":                                                             "an extension is one thing",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, failOpen: true, wasm: {configMapRef: {name: a, key: a-b.wasm}, config: {a: [1, {b: c}]}}}]}":                                "",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: b, wasm: {remote: {url: 'https://a.b:8/c/d.wasm?e=f', sha256: " + digest + "}, config: text}}]}":                               "",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x}}, {name: b, wasm: {configMapRef: {name: a, key: a.wasm}}}]}":                                               "must be the policy's only extension",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, port: 1}}}, {name: b, lua: {source: x}}]}":                                                  "must be the policy's only extension",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {}}]}":                                                                                                                "a module is in one place",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {configMapRef: {name: a, key: a.wasm}, remote: {url: 'http://a/', sha256: " + digest + "}}}]}":                        "a module is in one place",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x}, wasm: {configMapRef: {name: a, key: a.wasm}}}]}":                                                          "an extension is one thing",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {configMapRef: {name: a, key: a.lua}}}]}":                                                                             "spec.extensions[0].wasm.configMapRef.key",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {remote: {url: 'ftp://a/', sha256: " + digest + "}}}]}":                                                               "spec.extensions[0].wasm.remote.url",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {remote: {url: 'http://me:secret@a/', sha256: " + digest + "}}}]}":                                                    "spec.extensions[0].wasm.remote.url",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {remote: {url: 'http://a/'}}}]}":                                                                                      "spec.extensions[0].wasm.remote.sha256",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, wasm: {remote: {url: 'http://a/', sha256: abc}}}]}":                                                                         "spec.extensions[0].wasm.remote.sha256",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {}}]}":                                                                                                                 "a script is in one place",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {source: x, configMapRef: {name: a, key: a.lua}}}]}":                                                                   "a script is in one place",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, lua: {configMapRef: {name: a, key: a.txt}}}]}":                                                                              "spec.extensions[0].lua.configMapRef.key",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, port: 1}, messageTimeout: 11s}}]}":                                                          "messageTimeout is longer than 0s, and 10s at most",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, port: 1}, messageTimeout: 0s}}]}":                                                           "messageTimeout is longer than 0s, and 10s at most",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a}}}]}":                                                                                        "Must have port for Service reference",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, port: 1}, processingMode: {requestHeaderMode: Skip, responseHeaderMode: Skip}}}]}":          "a server that is told of nothing does nothing",
	"{targetRefs: [{kind: Service, name: a}], extensions: [{name: a, extProc: {backendRef: {name: a, port: 1}, processingMode: {requestBodyMode: FullDuplexStreamed}}}]}":                        "requestBodyMode: Unsupported value",
	"{targetRefs: [{kind: Gateway, name: a}], mtls: {mode: Strict}}":                                                                                                                             "mtls is about pods",
	"{targetRefs: [{kind: ServiceAccount, name: a}, {kind: GRPCRoute, name: a}], mtls: {mode: Strict}}":                                                                                          "mtls is about pods",
	"{targetRefs: [{kind: Service, name: a}], egress: {mode: Deny}}":                                                                                                                             "egress is about pods that call",
	"{targetRefs: [{kind: Deployment, name: a}], mtls: {mode: Strict}}":                                                                                                                          "spec.targetRefs[0].kind: Unsupported value",
	"{targetRefs: [{kind: Service}], mtls: {mode: Strict}}":                                                                                                                                      "a target has kind and name, or pods alone",
	"{targetRefs: [{name: a}], mtls: {mode: Strict}}":                                                                                                                                            "a target has kind and name, or pods alone",
	"{targetRefs: [{}], mtls: {mode: Strict}}":                                                                                                                                                   "a target has kind and name, or pods alone",
	"{targetRefs: [{kind: Service, name: a, pods: {selector: {matchLabels: {a: b}}}}], mtls: {mode: Strict}}":                                                                                    "a target has kind and name, or pods alone",
	"{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}, port: 80}], mtls: {mode: Strict}}":                                                                                                  "a target has kind and name, or pods alone",
	"{targetRefs: [{pods: {selector: {}}}], mtls: {mode: Strict}}":                                                                                                                               "an empty selector is every pod",
	"{targetRefs: [{pods: {selector: {matchLabels: {}}}}], mtls: {mode: Strict}}":                                                                                                                "an empty selector is every pod",
	"{targetRefs: [{kind: Service, name: a, group: gateway.networking.k8s.io}], mtls: {mode: Strict}}":                                                                                           "the kind is not of that group",
	"{targetRefs: [{kind: ServiceAccount, name: a, sectionName: b}], mtls: {mode: Strict}}":                                                                                                      "a ServiceAccount has no sections",
	"{targetRefs: [{kind: ServiceAccount, name: a, port: 80}], mtls: {mode: Strict}}":                                                                                                            "port is for a Service",
	"{targetRefs: [{kind: Service, name: a, sectionName: b, port: 80}], mtls: {mode: Strict}}":                                                                                                   "port is for a Service",
	"{targetRefs: [{kind: Service, name: a, port: 65536}], mtls: {mode: Strict}}":                                                                                                                "spec.targetRefs[0].port",
	"targetRefs: [" + strings.Repeat("{kind: Service, name: a},", 17) + "]\nmtls: {mode: Strict}":                                                                                                "spec.targetRefs: Too many",
}

// writePolicyStatus has Statuses write that three proxies have a policy, and waits for it.
func writePolicyStatus(t *testing.T, config *rest.Config, c client.Client, p *v1alpha1.MeshPolicy) {
	t.Helper()
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: c.Scheme(), Cache: CacheOptions(""), Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	statuses := &Statuses{Client: mgr.GetClient(), Cache: mgr.GetCache(), Outbox: cluster.NewOutbox[mesh.Status]()}
	if err := mgr.Add(statuses); err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	statuses.Outbox.Put("p", mesh.Status{Kind: "MeshPolicy", Key: "default/strict", Value: v1alpha1.MeshPolicyStatus{
		ObservedGeneration: p.Generation,
		Conditions:         []metav1.Condition{condition("Ready", "True", "Enforced", p.Generation, metav1.Time{})},
		Ancestors: []gwv1.PolicyAncestorStatus{{
			AncestorRef:    gwv1.ParentReference{Group: new(gwv1.Group("")), Kind: new(gwv1.Kind("Namespace")), Name: "default"},
			ControllerName: mesh.ControllerName,
			Conditions:     []metav1.Condition{condition("Accepted", "True", "Accepted", p.Generation, metav1.Time{})},
		}},
		Proxies: &v1alpha1.PolicyProxies{Total: 3, Acknowledged: 3, Summary: "3/3"},
	}})
	eventually(t, "the status", func(ctx context.Context) bool {
		err = c.Get(ctx, client.ObjectKeyFromObject(p), p)
		return err == nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && len(p.Status.Ancestors) == 1
	}, func() string { return fmt.Sprintf("%v, %+v", err, p.Status) })
}

// listed is the first row of what `kubectl get meshpolicies` prints.
func listed(t *testing.T, config *rest.Config) (row []string) {
	t.Helper()
	api, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	text, err := api.RESTClient().Get().AbsPath("/apis/mesh.weft.dev/v1alpha1/meshpolicies").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(text, &table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("%d rows, %v", len(table.Rows), err)
	}
	for _, cell := range table.Rows[0].Cells {
		row = append(row, fmt.Sprint(cell))
	}
	return row
}

func TestAncestorsKeepTheirOwnTimes(t *testing.T) {
	earlier, now := metav1.Unix(1, 0), metav1.NewTime(time.Unix(2, 0))
	status := func(at metav1.Time, web, api string) v1alpha1.MeshPolicyStatus {
		ancestor := func(name gwv1.ObjectName, accepted string) gwv1.PolicyAncestorStatus {
			return gwv1.PolicyAncestorStatus{
				AncestorRef:    gwv1.ParentReference{Name: name, SectionName: new(gwv1.SectionName("http"))},
				ControllerName: mesh.ControllerName,
				Conditions:     []metav1.Condition{condition("Accepted", metav1.ConditionStatus(accepted), "R", 1, at)},
			}
		}
		return v1alpha1.MeshPolicyStatus{Ancestors: []gwv1.PolicyAncestorStatus{ancestor("web", web), ancestor("api", api)}}
	}
	live := status(earlier, "True", "True")
	slices.Reverse(live.Ancestors)
	got := meshPolicyStatus(live, status(metav1.Time{}, "True", "False"), now)
	if web, api := got.Ancestors[0].Conditions[0].LastTransitionTime, got.Ancestors[1].Conditions[0].LastTransitionTime; web != earlier || api != now {
		t.Errorf("unchanged %v, changed %v", web, api)
	}
}
