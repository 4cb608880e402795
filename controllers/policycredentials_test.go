package controllers

import "strings"

// credentialsSpecs are specs, each with what the API server says of it; nothing if it takes it.
var credentialsSpecs = map[string]string{
	"apiKey: {secretRefs: [{name: a}]}": "",
	"basicAuth: {secretRef: {name: a}}": "",
	"basicAuth: {secretRef: {name: a, key: b}, realm: 'the shop!', userHeader: X-User, forward: true}": "",
	"{targetRefs: [{kind: ServiceAccount, name: a}, {pods: {selector: {matchLabels: {a: b}}}}, {kind: Service, name: a, port: 80}, {kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a}, {kind: GRPCRoute, name: a, sectionName: b}], " +
		"apiKey: {secretRefs: [{name: a}, {name: b}], from: [{header: Authorization}, {cookie: a}, {queryParam: a.b}], clientHeader: X-Client, forward: true}, basicAuth: {secretRef: {name: a}}}": "",

	"apiKey: {}":               "spec.apiKey.secretRefs: Required value",
	"apiKey: {secretRefs: []}": "spec.apiKey.secretRefs: Invalid value",
	"apiKey: {secretRefs: [{name: a}, {name: a}]}":                    "Duplicate value",
	"apiKey: {secretRefs: [{}]}":                                      "spec.apiKey.secretRefs[0].name",
	"apiKey: {secretRefs: [" + strings.Repeat("{name: a},", 9) + "]}": "spec.apiKey.secretRefs: Too many",
	ofKeys + "from: [{}]}":                                            "a place is one thing",
	ofKeys + "from: [{header: a, cookie: a}]}":                        "a place is one thing",
	ofKeys + "from: [{header: 'a b'}]}":                               "spec.apiKey.from[0].header",
	ofKeys + "from: [{header: Cookie}]}":                              "that header means something else",
	ofKeys + "from: [{header: X-Forwarded-For}]}":                     "that header means something else",
	ofKeys + "from: [{cookie: 'a;b'}]}":                               "spec.apiKey.from[0].cookie",
	ofKeys + "from: [{queryParam: 'a&b'}]}":                           "spec.apiKey.from[0].queryParam",
	ofKeys + "clientHeader: Authorization}":                           "that header means something else",
	ofKeys + "clientHeader: x_y}":                                     "spec.apiKey.clientHeader",
	ofKeys + "from: [{header: X-A}], clientHeader: x-a}":              "the key is in that header",
	ofKeys + "clientHeader: x-api-key}":                               "the key is in that header",

	"basicAuth: {}":                                                           "spec.basicAuth.secretRef.name",
	"basicAuth: {secretRef: {}}":                                              "spec.basicAuth.secretRef.name",
	"basicAuth: {secretRef: {name: a, key: 'a/b'}}":                           "spec.basicAuth.secretRef.key",
	"basicAuth: {secretRef: {name: a}, realm: 'a\"b'}":                        "spec.basicAuth.realm",
	"basicAuth: {secretRef: {name: a}, userHeader: Authorization}":            "that header means something else",
	"{mode: Shadow, apiKey: {secretRefs: [{name: a}]}}":                       "Shadow is for mtls, egress, authorization and jwt only",
	"{mode: Shadow, basicAuth: {secretRef: {name: a}}, mtls: {mode: Strict}}": "Shadow is for mtls, egress, authorization and jwt only",
}

const ofKeys = "apiKey: {secretRefs: [{name: a}], "
