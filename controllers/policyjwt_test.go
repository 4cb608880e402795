package controllers

import "strings"

// jwtSpecs are specs, each with what the API server says of it; nothing if it takes it.
var jwtSpecs = map[string]string{
	"jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}]}": "",
	"{targetRefs: [{kind: ServiceAccount, name: a}, {pods: {selector: {matchLabels: {a: b}}}}, {kind: Service, name: a, port: 80}, {kind: Gateway, name: a, sectionName: b}, {kind: HTTPRoute, name: a}, {kind: GRPCRoute, name: a, sectionName: b}], " +
		"jwt: {providers: [{name: a, issuer: a, jwks: {configMapRef: {name: a}}}, {name: b, issuer: b, jwks: {secretRef: {name: a, key: b.jwks}}}]}}": "",
	ofProvider + "remote: {uri: 'https://a.example:8443/keys?a=b', refresh: 10s}}}]}":        "",
	ofProvider + "remote: {uri: 'http://dex.auth.svc:5556/keys'}}}]}":                        "",
	ofProvider + "remote: {uri: 'http://dex.auth.svc.cluster.local/keys', refresh: 24h}}}]}": "",
	ofProvider + "inline: x}, audiences: [a], forward: false, from: [{header: {name: X-A, prefix: 'T '}}, {cookie: a}, {queryParam: a}], claimHeaders: [{path: [a, b], header: x-a}], " +
		"claims: [{path: ['https://a.b/c'], values: [a]}, {path: [a, b.c], contains: [a]}, {path: [a], number: {min: -1, max: -1}}, {path: [a], bool: false}, {path: [a]}]}]}": "",

	"jwt: {}":              "spec.jwt.providers: Required value",
	"jwt: {providers: []}": "spec.jwt.providers: Invalid value",
	"jwt: {providers: [" + strings.Repeat("{name: a, issuer: a, jwks: {inline: x}},", 9) + "]}":            "spec.jwt.providers: Too many",
	"jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}, {name: b, issuer: a, jwks: {inline: x}}]}": "an issuer has one provider",
	"jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}, {name: a, issuer: b, jwks: {inline: x}}]}": "Duplicate value",
	"jwt: {providers: [{name: A, issuer: a, jwks: {inline: x}}]}":                                          "spec.jwt.providers[0].name",
	"jwt: {providers: [{name: a, jwks: {inline: x}}]}":                                                     "spec.jwt.providers[0].issuer",
	"jwt: {providers: [{name: a, issuer: a}]}":                                                             "keys are in one place",
	ofProvider + "}}]}": "keys are in one place",
	ofProvider + "inline: x, secretRef: {name: a}}}]}":                                                  "keys are in one place",
	ofProvider + "configMapRef: {name: a, key: password}}}]}":                                           "spec.jwt.providers[0].jwks.configMapRef.key",
	ofProvider + "remote: {uri: 'http://a.example/keys'}}}]}":                                           "spec.jwt.providers[0].jwks.remote.uri",
	ofProvider + "remote: {uri: 'http://169.254.169.254/keys'}}}]}":                                     "spec.jwt.providers[0].jwks.remote.uri",
	ofProvider + "remote: {uri: 'http://a.b.svc.evil@c/keys'}}}]}":                                      "spec.jwt.providers[0].jwks.remote.uri",
	ofProvider + "remote: {uri: 'https://user@a.example/keys'}}}]}":                                     "spec.jwt.providers[0].jwks.remote.uri",
	ofProvider + "remote: {uri: 'https://a.example/', refresh: 9s}}}]}":                                 "refresh is between 10s and 24h",
	ofProvider + "inline: x}, from: [{cookie: a, queryParam: a}]}]}":                                    "a place is one thing",
	ofProvider + "inline: x}, from: [{header: {name: 'a b'}}]}]}":                                       "spec.jwt.providers[0].from[0].header.name",
	ofProvider + "inline: x}, claims: [{path: []}]}]}":                                                  "spec.jwt.providers[0].claims[0].path",
	ofProvider + "inline: x}, claims: [{path: [a], bool: true, values: [a]}]}]}":                        "a claim is of one type",
	ofProvider + "inline: x}, claims: [{path: [a], number: {}}]}]}":                                     "set min, max or both",
	ofProvider + "inline: x}, claims: [{path: [a], number: {min: 2, max: 1}}]}]}":                       "min is not above max",
	ofProvider + "inline: x}, claimHeaders: [{path: [a.b], header: x}]}]}":                              "spec.jwt.providers[0].claimHeaders[0].path",
	ofProvider + "inline: x}, claimHeaders: [{path: [a], header: Host}]}]}":                             "that header means something else",
	ofProvider + "inline: x}, claimHeaders: [{path: [a], header: X-Forwarded-For}]}]}":                  "that header means something else",
	"{mode: Shadow, jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}]}}":                       "",
	"{mode: Shadow, mtls: {mode: Strict}, jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}]}}": "",
	"{mode: Shadow, retry: {attempts: 1}, jwt: {providers: [{name: a, issuer: a, jwks: {inline: x}}]}}": "Shadow is for mtls, egress, authorization and jwt only",
}

const ofProvider = "jwt: {providers: [{name: a, issuer: a, jwks: {"
