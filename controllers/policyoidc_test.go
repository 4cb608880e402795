package controllers

// oidcSpecs are specs, each with what the API server says of it; nothing if it takes it.
var oidcSpecs = map[string]string{
	ofLogin("issuer: 'https://a.example'", "Gateway, name: a", ""):                                             "",
	ofLogin("issuer: 'http://dex.auth.svc:5556/dex'", "Gateway, name: a, sectionName: b", ""):                  "",
	ofLogin("authorizationEndpoint: 'https://a/b?c=d', tokenEndpoint: 'https://a/'", "HTTPRoute, name: a", ""): "",
	ofLogin("issuer: 'https://a', caCertificateRefs: [{name: a}]", "HTTPRoute, name: a, sectionName: b", ", scopes: [email, 'https://a/b'], redirectPath: /a/b.c, logoutPath: /out, cookie: {prefix: __Host-, sameSite: None}, forwardAccessToken: true, refreshToken: false, lifetime: 1m"): "",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", cookie: {prefix: a-, domain: example.com}"): "",

	"oidc: {provider: {issuer: 'https://a'}, clientID: a, clientSecretRef: {name: a}}":                               "oidc is about people who come by a Gateway",
	ofLogin("issuer: 'https://a'", "Service, name: a", ""):                                                           "oidc is about people who come by a Gateway",
	ofLogin("issuer: 'https://a'", "GRPCRoute, name: a", ""):                                                         "oidc is about people who come by a Gateway",
	ofLogin("", "Gateway, name: a", ""):                                                                              "set issuer, whose endpoints are then looked up",
	ofLogin("tokenEndpoint: 'https://a/'", "Gateway, name: a", ""):                                                   "set issuer, whose endpoints are then looked up",
	ofLogin("issuer: 'https://a', tokenEndpoint: 'https://a/'", "Gateway, name: a", ""):                              "set issuer, whose endpoints are then looked up",
	ofLogin("issuer: 'http://a.example'", "Gateway, name: a", ""):                                                    "spec.oidc.provider.issuer",
	ofLogin("issuer: 'https://a/'", "Gateway, name: a", ""):                                                          "spec.oidc.provider.issuer",
	ofLogin("authorizationEndpoint: 'javascript:a', tokenEndpoint: 'https://a/'", "Gateway, name: a", ""):            "spec.oidc.provider.authorizationEndpoint",
	ofLogin("authorizationEndpoint: 'https://a/', tokenEndpoint: 'https://u@a/'", "Gateway, name: a", ""):            "spec.oidc.provider.tokenEndpoint",
	ofLogin("authorizationEndpoint: 'https://a/', tokenEndpoint: 'http://169.254.169.254/'", "Gateway, name: a", ""): "spec.oidc.provider.tokenEndpoint",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", redirectPath: /logout"):                                    "redirectPath and logoutPath must differ",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", redirectPath: /a/../b"):                                    "spec.oidc.redirectPath",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", logoutPath: /"):                                            "spec.oidc.logoutPath",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", cookie: {sameSite: Strict}"):                               "spec.oidc.cookie.sameSite",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", cookie: {prefix: __Host-, domain: example.com}"):           "a cookie whose name begins with __Host- is for one host",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", lifetime: 1s"):                                             "lifetime is between 1m and 8760h",
	ofLogin("issuer: 'https://a'", "Gateway, name: a", ", scopes: ['a b']"):                                          "spec.oidc.scopes",
	"{mode: Shadow, " + ofLogin("issuer: 'https://a'", "Gateway, name: a", "")[1:]:                                   "Shadow is for mtls, egress, authorization and jwt only",
}

func ofLogin(provider, target, more string) string {
	return "{targetRefs: [{kind: " + target + "}], oidc: {provider: {" + provider + "}, clientID: a, clientSecretRef: {name: a}" + more + "}}"
}
