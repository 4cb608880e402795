package controllers

// extAuthSpecs are specs, each with what the API server says of it; nothing if it takes it.
var extAuthSpecs = map[string]string{
	toServer + "}}": "",
	"extAuth: {protocol: GRPC, backendRef: {name: a, port: 80, namespace: b}, grpc: {allowedHeaders: [x-a]}, forwardBody: {maxSize: 1024}, serverHeaders: [X-User, x-group], timeout: 10s, failOpen: true}": "",
	toServer + ", http: {path: /check, allowedHeaders: [Cookie], allowedResponseHeaders: [X-User]}}}":                                                                                                       "",
	"{targetRefs: [{kind: ServiceAccount, name: a}, {pods: {selector: {matchLabels: {a: b}}}}, {kind: Service, name: a, port: 80}, {kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a}, {kind: GRPCRoute, name: a, sectionName: b}], " +
		"extAuth: {protocol: GRPC, backendRef: {name: a, port: 80}}}": "",

	"extAuth: {}":               "spec.extAuth.protocol: Unsupported value",
	"extAuth: {protocol: HTTP}": "Must have port for Service reference",
	"extAuth: {protocol: HTTP2, backendRef: {name: a, port: 80}}":                                      "spec.extAuth.protocol: Unsupported value",
	"extAuth: {protocol: HTTP, backendRef: {name: a}}":                                                 "Must have port for Service reference",
	"extAuth: {protocol: HTTP, backendRef: {name: a, port: 80}, grpc: {}}":                             "grpc is for a server that speaks GRPC",
	"extAuth: {protocol: GRPC, backendRef: {name: a, port: 80}, http: {path: /a}}":                     "http is for a server that speaks HTTP",
	toServer + ", http: {path: '/a?b'}}}":                                                              "spec.extAuth.http.path",
	toServer + ", timeout: 0s}}":                                                                       "timeout is longer than 0s, and 10s at most",
	toServer + ", timeout: 11s}}":                                                                      "timeout is longer than 0s, and 10s at most",
	toServer + ", serverHeaders: ['a b']}}":                                                            "spec.extAuth.serverHeaders[0]",
	toServer + ", serverHeaders: [Authorization]}}":                                                    "that header means something else",
	toServer + ", serverHeaders: [X-Forwarded-For]}}":                                                  "that header means something else",
	toServer + ", serverHeaders: [x-a, x-a]}}":                                                         "Duplicate value",
	toServer + ", forwardBody: {maxSize: 65536}}}":                                                     "spec.extAuth.forwardBody.maxSize",
	"{mode: Shadow, extAuth: {protocol: HTTP, backendRef: {name: a, port: 80}}}":                       "Shadow is for mtls, egress, authorization and jwt only",
	"{mode: Shadow, mtls: {mode: Strict}, extAuth: {protocol: HTTP, backendRef: {name: a, port: 80}}}": "Shadow is for mtls, egress, authorization and jwt only",
}

const toServer = "{extAuth: {protocol: HTTP, backendRef: {name: a, port: 80}"
