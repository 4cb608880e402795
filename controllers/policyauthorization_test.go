package controllers

import "strings"

// authorizationSpecs are specs, each with what the API server says of it; nothing if it takes it.
var authorizationSpecs = map[string]string{
	"authorization: {}":                   "",
	"authorization: {rules: [{name: a}]}": "",
	"{mode: Shadow, authorization: {}}":   "",
	"{mode: Shadow, targetRefs: [{kind: Gateway, name: a}], authorization: {rules: [{name: a}]}, jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}]}}": "",
	"{targetRefs: [{kind: ServiceAccount, name: a}, {pods: {selector: {matchLabels: {a: b}}}}, {kind: Service, name: a, port: 80}, {kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a}, {kind: GRPCRoute, name: a, sectionName: b}], " +
		"authorization: {roles: [{name: a, may: [{methods: [GET]}], heldBy: [{namespace: a}]}]}}": "",
	ofWho + `from: [{serviceAccount: {namespace: a, name: b.c}, trustDomain: x.y}, {gateway: {namespace: a, name: b}, ipBlocks: [10.0.0.0/8, "fd00::/8"]}, {namespace: a}, {trustDomain: x}, {jwt: {issuers: [a], subjects: [b], groups: [c]}}]}]}`: "",
	ofWho + `to: [{methods: [GET, M-SEARCH], paths: [{exact: /a}, {prefix: /}, {template: "/a/{b}/c"}, {template: "/a/{b}/{rest...}"}], hosts: [a.b, "*.b"], ports: [1, 65535], headers: [{name: x-a}, {name: x-b, values: ["a b"]}]}, ` +
		`{grpc: [{service: a.b.C}, {service: C, method: D}]}]}]}`: "",
	ofCondition + `attribute: "jwt.claims[a.b/c][d]", operator: NotIn, attributes: ["destination.labels[a.b/c]", "request.segments[9]", jwt.issuer]}]}]}`:                     "",
	ofCondition + `attribute: "jwt.claims[a]", operator: AtLeast, values: ["-3"]}]}]}`:                                                                                        "",
	ofCondition + `attribute: time.hour, operator: LessThan, values: ["17"]}]}]}`:                                                                                             "",
	ofCondition + `attribute: "request.headers[x-a]", operator: DoesNotExist}]}]}`:                                                                                            "",
	ofCondition + `attribute: "request.headers[x-a]", operator: NotIn, data: {configMapRef: {name: a, key: a.data.yaml}, path: [a, "b.c"], by: "destination.labels[a]"}}]}]}`: "",
	ofCondition + `attribute: "jwt.claims[a]", operator: EndsWith, data: {configMapRef: {name: a, key: a.data.yaml}, by: jwt.subject}}]}]}`:                                   "",

	"authorization: {rego: {configMapRef: {name: a, key: a.rego}}}": "",
	"authorization: {rego: {}}":                                     "set configMapRef or remote",
	"authorization: {rego: {remote: {url: 'https://a.example/a.rego', sha256: " + strings.Repeat("a", 64) + "}}}":                                "",
	"authorization: {rego: {remote: {url: 'https://a.example/a.rego', sha256: a}}}":                                                              "spec.authorization.rego.remote.sha256",
	"authorization: {rego: {remote: {url: 'ftp://a.example', sha256: " + strings.Repeat("a", 64) + "}}}":                                         "spec.authorization.rego.remote.url",
	"authorization: {rego: {configMapRef: {name: a, key: a.rego}, remote: {url: 'https://a.example', sha256: " + strings.Repeat("a", 64) + "}}}": "set configMapRef or remote",
	"authorization: {rego: {configMapRef: {name: a, key: a.data.yaml}}}":                                                                         "spec.authorization.rego.configMapRef.key",
	"authorization: {rules: [{}]}":                                                                                               "spec.authorization.rules[0].name",
	"authorization: {rules: [{name: A}]}":                                                                                        "spec.authorization.rules[0].name",
	"authorization: {rules: [{name: a}, {name: a}]}":                                                                             "Duplicate value",
	"authorization: {rules: [" + strings.Repeat("{name: a},", 65) + "]}":                                                         "spec.authorization.rules: Too many",
	"authorization: {roles: [{name: a, may: [], heldBy: [{namespace: a}]}]}":                                                     "spec.authorization.roles[0].may",
	"authorization: {roles: [{name: a, may: [{methods: [GET]}]}]}":                                                               "spec.authorization.roles[0].heldBy",
	ofWho + "action: Audit}]}":                                                                                                   "spec.authorization.rules[0].action",
	ofWho + "from: [{}]}]}":                                                                                                      "spec.authorization.rules[0].from[0]",
	ofWho + "from: [{namespace: a, gateway: {namespace: a, name: b}}]}]}":                                                        "each say which pods call: set one",
	ofWho + "from: [{ipBlocks: [10.1.2.3/8]}]}]}":                                                                                "a block of addresses in its shortest form",
	ofWho + "from: [{ipBlocks: [10.1.2.3]}]}]}":                                                                                  "a block of addresses in its shortest form",
	ofWho + "from: [{jwt: {}}]}]}":                                                                                               "spec.authorization.rules[0].from[0].jwt",
	ofWho + "to: [{}]}]}":                                                                                                        "spec.authorization.rules[0].to[0]",
	ofWho + "to: [{methods: [get]}]}]}":                                                                                          "spec.authorization.rules[0].to[0].methods[0]",
	ofWho + "to: [{paths: [{exact: a}]}]}]}":                                                                                     "spec.authorization.rules[0].to[0].paths[0].exact",
	ofWho + "to: [{paths: [{prefix: /a;b}]}]}]}":                                                                                 "spec.authorization.rules[0].to[0].paths[0].prefix",
	ofWho + "to: [{paths: [{exact: /a, prefix: /a}]}]}]}":                                                                        "spec.authorization.rules[0].to[0].paths[0]",
	ofWho + `to: [{paths: [{template: "/a{b}"}]}]}]}`:                                                                            "spec.authorization.rules[0].to[0].paths[0].template",
	ofWho + `to: [{paths: [{template: "/{a...}/b"}]}]}]}`:                                                                        "spec.authorization.rules[0].to[0].paths[0].template",
	ofWho + "to: [{hosts: ['a:80']}]}]}":                                                                                         "spec.authorization.rules[0].to[0].hosts[0]",
	ofWho + "to: [{ports: [0]}]}]}":                                                                                              "spec.authorization.rules[0].to[0].ports[0]",
	ofWho + "to: [{grpc: [{service: a}], methods: [GET]}]}]}":                                                                    "grpc says itself which method and paths",
	ofWho + "to: [{headers: [{name: X-A}]}]}]}":                                                                                  "spec.authorization.rules[0].to[0].headers[0].name",
	ofWho + "to: [{headers: [{name: host}]}]}]}":                                                                                 "for the host write hosts",
	ofWho + "to: [{headers: [{name: a, values: ['a,b']}]}]}]}":                                                                   "spec.authorization.rules[0].to[0].headers[0].values[0]",
	ofCondition + "attribute: request.body, operator: Exists}]}]}":                                                               "spec.authorization.rules[0].when[0].attribute",
	ofCondition + "attribute: 'request.headers[X-A]', operator: Exists}]}]}":                                                     "spec.authorization.rules[0].when[0].attribute",
	ofCondition + "attribute: 'request.headers[x-a]', operator: Like, values: [a]}]}]}":                                          "spec.authorization.rules[0].when[0].operator",
	ofCondition + "attribute: request.path, operator: In}]}]}":                                                                   "compare with either values, attributes or data",
	ofCondition + "attribute: request.path, operator: Exists, values: [a]}]}]}":                                                  "compare with either values, attributes or data",
	ofCondition + "attribute: request.path, operator: In, values: [a], attributes: [jwt.subject]}]}]}":                           "compare with either values, attributes or data",
	ofCondition + "attribute: request.path, operator: StartsWith, attributes: [jwt.subject]}]}]}":                                "attributes are compared by In and NotIn",
	ofCondition + "attribute: request.path, operator: AtLeast, values: ['1']}]}]}":                                               "times and claims are numbers",
	ofCondition + "attribute: time.hour, operator: In, values: ['1']}]}]}":                                                       "times and claims are numbers",
	ofCondition + "attribute: time.hour, operator: AtLeast, values: ['x']}]}]}":                                                  "compare with one whole number",
	ofCondition + "attribute: 'jwt.claims[a]', operator: AtLeast, values: ['1', '2']}]}]}":                                       "compare with one whole number",
	ofCondition + "attribute: request.path, operator: In, values: [a], data: {configMapRef: {name: a, key: a.data.yaml}}}]}]}":   "compare with either values, attributes or data",
	ofCondition + "attribute: request.path, operator: Exists, data: {configMapRef: {name: a, key: a.data.yaml}}}]}]}":            "compare with either values, attributes or data",
	ofCondition + "attribute: 'jwt.claims[a]', operator: AtLeast, data: {configMapRef: {name: a, key: a.data.yaml}}}]}]}":        "compare with one whole number",
	ofCondition + "attribute: request.path, operator: In, data: {configMapRef: {name: a, key: password}}}]}]}":                   "spec.authorization.rules[0].when[0].data.configMapRef.key",
	ofCondition + "attribute: request.path, operator: In, data: {configMapRef: {name: a, key: a.data.yaml}, path: ['']}}]}]}":    "spec.authorization.rules[0].when[0].data.path[0]",
	ofCondition + "attribute: request.path, operator: In, data: {configMapRef: {name: a, key: a.data.yaml}, by: time.hour}}]}]}": "spec.authorization.rules[0].when[0].data.by",
	ofCondition + "attribute: request.path, operator: In, attributes: [time.hour]}]}]}":                                          "spec.authorization.rules[0].when[0].attributes[0]",
	"{mode: Shadow, authorization: {rules: [{name: a}]}, timeout: {idle: 1s}}":                                                   "Shadow is for mtls, egress, authorization and jwt only",
}

const (
	ofWho       = "authorization: {rules: [{name: a, "
	ofCondition = ofWho + "when: [{"
)
