package controllers

import "strings"

// matchSpecs are specs, each with what the API server says of it; nothing if it takes it.
var matchSpecs = map[string]string{
	ofRule + "match: {from: [{namespace: shop}, {namespace: back, serviceAccount: web.v1}]}}":        "",
	"{targetRefs: [{kind: GRPCRoute, name: a, sectionName: b}], match: {from: [{namespace: shop}]}}": "",
	ofRule + "match: {}}": "it narrows nothing: set from, nodeSelector, claims or cel",
	ofRule + "match: {nodeSelector: {matchLabels: {a: b}}}}":                                                                    "",
	ofRule + "match: {nodeSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b]}]}, cel: 'true'}}":                "",
	ofRule + "match: {nodeSelector: {}}}":                                                                                       "spec.match.nodeSelector: Invalid value: it selects every Node",
	ofRule + "match: {nodeSelector: {matchExpressions: [{key: a, operator: Exists}]}}}":                                         "the operators are In and NotIn",
	ofRule + "match: {nodeSelector: {matchExpressions: [" + strings.Repeat("{key: a, operator: In, values: [b]},", 17) + "]}}}": "at most 16 expressions",
	ofRule + "match: {cel: " + strings.Repeat("a", 1025) + "}}":                                                                 "spec.match.cel: Too long",
	ofRule + "match: {from: []}}":                                                                                               "it narrows nothing",
	ofRule + "match: {claims: [{path: [plan], values: [gold]}, {path: [groups], contains: [a]}, {path: [age], number: {min: 1}}, {path: [ok], bool: true}, {path: [there]}]}}": "",
	ofRule + "match: {claims: []}}":                                                                                "it narrows nothing",
	ofRule + "match: {claims: [{path: []}]}}":                                                                      "spec.match.claims[0].path: Invalid value: 0",
	ofRule + "match: {claims: [{path: [a], values: [b], bool: true}]}}":                                            "a claim is of one type",
	ofRule + "match: {claims: [{path: [a], number: {min: 2, max: 1}}]}}":                                           "min is not above max",
	ofRule + "match: {claims: [" + strings.Repeat("{path: [a]},", 17) + "]}}":                                      "spec.match.claims: Too many",
	ofRule + "match: {claims: [{path: [a, b, c, d, e]}]}}":                                                         "spec.match.claims[0].path: Too many",
	ofRule + "match: {from: [{}]}}":                                                                                "spec.match.from[0].namespace",
	ofRule + "match: {from: [{namespace: Shop}]}}":                                                                 "spec.match.from[0].namespace",
	ofRule + "match: {from: [{namespace: shop, serviceAccount: a/b}]}}":                                            "spec.match.from[0].serviceAccount",
	ofRule + "match: {from: [" + strings.Repeat("{namespace: shop},", 17) + "]}}":                                  "spec.match.from: Too many",
	"match: {from: [{namespace: shop}]}":                                                                           "match narrows rules of routes",
	"{targetRefs: [{kind: HTTPRoute, name: a}], match: {from: [{namespace: shop}]}}":                               "match narrows rules of routes",
	"{targetRefs: [{kind: Service, name: a, sectionName: b}], match: {from: [{namespace: shop}]}}":                 "match narrows rules of routes",
	"{targetRefs: [{kind: HTTPRoute, name: a, sectionName: b}], mode: Shadow, match: {from: [{namespace: shop}]}}": "Shadow is for mtls, egress, authorization and jwt only",
}

const ofRule = "{targetRefs: [{kind: HTTPRoute, name: a, sectionName: b}], "
