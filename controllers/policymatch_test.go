package controllers

import "strings"

// matchSpecs are specs, each with what the API server says of it; nothing if it takes it.
var matchSpecs = map[string]string{
	ofRule + "match: {from: [{namespace: shop}, {namespace: back, serviceAccount: web.v1}]}}":        "",
	"{targetRefs: [{kind: GRPCRoute, name: a, sectionName: b}], match: {from: [{namespace: shop}]}}": "",
	ofRule + "match: {}}":                                                                                          "spec.match.from: Required value",
	ofRule + "match: {from: []}}":                                                                                  "spec.match.from: Invalid value",
	ofRule + "match: {from: [{}]}}":                                                                                "spec.match.from[0].namespace",
	ofRule + "match: {from: [{namespace: Shop}]}}":                                                                 "spec.match.from[0].namespace",
	ofRule + "match: {from: [{namespace: shop, serviceAccount: a/b}]}}":                                            "spec.match.from[0].serviceAccount",
	ofRule + "match: {from: [" + strings.Repeat("{namespace: shop},", 17) + "]}}":                                  "spec.match.from: Too many",
	"match: {from: [{namespace: shop}]}":                                                                           "match narrows rules of routes",
	"{targetRefs: [{kind: HTTPRoute, name: a}], match: {from: [{namespace: shop}]}}":                               "match narrows rules of routes",
	"{targetRefs: [{kind: Service, name: a, sectionName: b}], match: {from: [{namespace: shop}]}}":                 "match narrows rules of routes",
	"{targetRefs: [{kind: HTTPRoute, name: a, sectionName: b}], mode: Shadow, match: {from: [{namespace: shop}]}}": "Shadow is for mtls and egress only",
}

const ofRule = "{targetRefs: [{kind: HTTPRoute, name: a, sectionName: b}], "
