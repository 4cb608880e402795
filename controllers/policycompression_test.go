package controllers

// compressionSpecs are specs, each with what the API server says of it; nothing if it takes it.
var compressionSpecs = map[string]string{
	`compression: {}`: "",
	`{targetRefs: [{kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a}], compression: {algorithms: [Gzip, Zstd, Brotli], contentTypes: [application/vnd.a+json], minContentLength: 1, disableOnETagHeader: true}}`: "",
	`compression: {disabled: true}`:                                              "",
	`compression: {disabled: false, algorithms: [Gzip]}`:                         "",
	`compression: {disabled: true, algorithms: [Gzip]}`:                          "disabled has nothing compressed",
	`compression: {disabled: true, minContentLength: 5}`:                         "disabled has nothing compressed",
	`compression: {disabled: true, disableOnETagHeader: true}`:                   "disabled has nothing compressed",
	`compression: {algorithms: [Deflate]}`:                                       "spec.compression.algorithms[0]: Unsupported value",
	`compression: {algorithms: [Gzip, Gzip]}`:                                    "spec.compression.algorithms[1]: Duplicate value",
	`compression: {contentTypes: [text]}`:                                        "spec.compression.contentTypes[0]",
	`compression: {contentTypes: [text/html; charset=utf-8]}`:                    "spec.compression.contentTypes[0]",
	`compression: {contentTypes: [text/html, application/grpc+proto]}`:           "calls of gRPC are compressed by those who make them",
	`compression: {minContentLength: 0}`:                                         "spec.compression.minContentLength",
	`{targetRefs: [{kind: Service, name: a}], compression: {}}`:                  "compression is about what Gateways answer by HTTP",
	`{targetRefs: [{kind: GRPCRoute, name: a}], compression: {}}`:                "compression is about what Gateways answer by HTTP",
	`{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}}], compression: {}}`: "compression is about what Gateways answer by HTTP",
	`{mode: Shadow, compression: {}}`:                                            "Shadow is for mtls, egress, authorization and jwt only",
}
