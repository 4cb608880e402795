package controllers

import "testing"

// admissionControlSpecs are specs, each with what the API server says of it; nothing if it takes it.
var admissionControlSpecs = map[string]string{
	`admissionControl: {}`: "",
	`{targetRefs: [{kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a, sectionName: r}, {kind: GRPCRoute, name: a}, {kind: Service, name: a, port: 80}], admissionControl: {samplingWindow: 1m, successRateThreshold: 90, aggression: "1.5", requestsPerSecondThreshold: 0, maxRejectionPercent: 100, successCriteria: {httpStatuses: [{start: 200, end: 299}, {start: 404}], grpcStatuses: [0, 16]}}}`: "",
	`admissionControl: {disabled: true}`:                                              "",
	`admissionControl: {disabled: false, samplingWindow: 1s}`:                         "",
	`admissionControl: {disabled: true, maxRejectionPercent: 5}`:                      "disabled has nothing turned away",
	`admissionControl: {disabled: true, successCriteria: {grpcStatuses: [0]}}`:        "disabled has nothing turned away",
	`admissionControl: {samplingWindow: 900ms}`:                                       "the window is from 1s to 10m",
	`admissionControl: {samplingWindow: 11m}`:                                         "the window is from 1s to 10m",
	`admissionControl: {samplingWindow: long}`:                                        "spec.admissionControl.samplingWindow",
	`admissionControl: {successRateThreshold: 0}`:                                     "spec.admissionControl.successRateThreshold",
	`admissionControl: {successRateThreshold: 101}`:                                   "spec.admissionControl.successRateThreshold",
	`admissionControl: {aggression: "0.9"}`:                                           "aggression is from 1.0 to 100.0",
	`admissionControl: {aggression: "101"}`:                                           "aggression is from 1.0 to 100.0",
	`admissionControl: {aggression: much}`:                                            "spec.admissionControl.aggression",
	`admissionControl: {requestsPerSecondThreshold: -1}`:                              "spec.admissionControl.requestsPerSecondThreshold",
	`admissionControl: {maxRejectionPercent: 0}`:                                      "spec.admissionControl.maxRejectionPercent",
	`admissionControl: {maxRejectionPercent: 101}`:                                    "spec.admissionControl.maxRejectionPercent",
	`admissionControl: {successCriteria: {}}`:                                         "criteria without a status say nothing",
	`admissionControl: {successCriteria: {httpStatuses: [{start: 99}]}}`:              "spec.admissionControl.successCriteria.httpStatuses[0].start",
	`admissionControl: {successCriteria: {httpStatuses: [{start: 300, end: 200}]}}`:   "end is less than start",
	`admissionControl: {successCriteria: {grpcStatuses: [17]}}`:                       "spec.admissionControl.successCriteria.grpcStatuses[0]",
	`admissionControl: {successCriteria: {grpcStatuses: [1, 1]}}`:                     "spec.admissionControl.successCriteria.grpcStatuses[1]: Duplicate value",
	`{targetRefs: [{kind: ServiceAccount, name: a}], admissionControl: {}}`:           "admissionControl is about requests",
	`{targetRefs: [{pods: {selector: {matchLabels: {a: b}}}}], admissionControl: {}}`: "admissionControl is about requests",
	`{mode: Shadow, admissionControl: {}}`:                                            "Shadow is for mtls and egress only",
}

// TestAdmissionControlKind: what the API server makes of the section before any operator sees it.
func TestAdmissionControlKind(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	admits(t, newClient(t, config), admissionControlSpecs)
}
