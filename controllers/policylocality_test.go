package controllers

// localitySpecs are specs, each with what the API server says of it; nothing if it takes it.
var localitySpecs = map[string]string{
	`locality: {}`: "",
	`{targetRefs: [{kind: Service, name: a, port: 80}, {kind: Service, name: b}], locality: {prefer: [kubernetes.io/hostname, example.com/Rack_1, topology.kubernetes.io/zone, topology.kubernetes.io/region], minEndpoints: 3}}`: "",
	`locality: {prefer: [rack]}`: "",
	`locality: {weights: [{from: eu, to: [{region: eu, percent: 80}, {region: us, percent: 20}, {region: ap, percent: 0}]}, {from: us, to: [{region: us, percent: 100}]}]}`: "",

	`locality: {prefer: [a, b, c, d, e]}`:                                                                               "spec.locality.prefer",
	`locality: {prefer: ["zone a"]}`:                                                                                    "spec.locality.prefer[0]",
	`locality: {prefer: ["/zone"]}`:                                                                                     "spec.locality.prefer[0]",
	`locality: {prefer: [rack, rack]}`:                                                                                  "each label counts once",
	`locality: {prefer: [topology.kubernetes.io/region, topology.kubernetes.io/zone]}`:                                  "a zone is within a region",
	`locality: {prefer: [topology.kubernetes.io/zone, kubernetes.io/hostname]}`:                                         "kubernetes.io/hostname is the first",
	`locality: {minEndpoints: 0}`:                                                                                       "spec.locality.minEndpoints",
	`locality: {weights: [{from: eu, to: []}]}`:                                                                         "spec.locality.weights[0].to",
	`locality: {weights: [{from: eu, to: [{region: eu, percent: 80}]}]}`:                                                "come to 100 together",
	`locality: {weights: [{from: eu, to: [{region: eu, percent: 101}]}]}`:                                               "spec.locality.weights[0].to[0].percent",
	`locality: {weights: [{from: eu, to: [{region: eu, percent: 50}, {region: eu, percent: 50}]}]}`:                     "Duplicate value",
	`locality: {weights: [{from: eu, to: [{region: eu, percent: 100}]}, {from: eu, to: [{region: us, percent: 100}]}]}`: "Duplicate value",
	`locality: {prefer: [rack], weights: [{from: eu, to: [{region: eu, percent: 100}]}]}`:                               "set the one or the others",
	`locality: {minEndpoints: 2, weights: [{from: eu, to: [{region: eu, percent: 100}]}]}`:                              "set the one or the others",
	`{targetRefs: [{kind: Gateway, name: a}], locality: {}}`:                                                            "locality is about what is sent to Services",
	`{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}}], locality: {}}`:                                           "locality is about what is sent to Services",
	`{mode: Shadow, locality: {}}`:                                                                                      "Shadow is for mtls, egress, authorization and jwt only",
}
