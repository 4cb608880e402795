package oidc

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/jwt"
)

// refresh is how often endpoints are looked up.
const refresh = 5 * time.Minute

// Endpoints are those of a provider. EndSession may be "".
type Endpoints struct {
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	EndSession    string `json:"end_session_endpoint,omitempty"`
	// Methods are the ways in which clients may prove who they are at Token; nil: by basic authentication.
	Methods []string `json:"token_endpoint_auth_methods_supported,omitempty"`
}

// Source is the discovery document of an issuer, for the operator to fetch.
func Source(issuer string) jwt.Source {
	return jwt.Source{URL: issuer + "/.well-known/openid-configuration", Refresh: refresh, Issuer: issuer}
}

// Sources are those of a policy.
func Sources(p *v1alpha1.MeshPolicy) []jwt.Source {
	if p.Spec.OIDC == nil || p.Spec.OIDC.Provider.Issuer == "" {
		return nil
	}
	return []jwt.Source{Source(p.Spec.OIDC.Provider.Issuer)}
}

// Discovered are the endpoints, as a text, of an issuer's discovery document; or what is wrong with it: then there are
// none.
func Discovered(text, issuer string) (endpoints, problem string) {
	if len(text) > jwt.MaxKeySet {
		return "", fmt.Sprintf("has more than %d bytes", jwt.MaxKeySet)
	}
	var document struct {
		Issuer string `json:"issuer"`
		Endpoints
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return "", "is no discovery document: it must be JSON, an object with issuer, authorization_endpoint and token_endpoint"
	}
	if strings.TrimSuffix(document.Issuer, "/") != strings.TrimSuffix(issuer, "/") {
		return "", "is of another issuer: write the one that it names, to the letter"
	}
	if problem := document.problem(); problem != "" {
		return "", problem
	}
	document.Methods = slices.DeleteFunc(document.Methods, func(m string) bool { return m != byBasic && m != byPost })
	return document.text(), ""
}

// An endpoint goes into headers of answers, and into what a proxy calls: what is no plain URL stays out.
const (
	origin   = `^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)`
	pathOnly = `/[-._~!$&'()*+,;=:@/%a-zA-Z0-9]*`
)

var (
	plain   = regexp.MustCompile(origin + pathOnly + `$`)
	queried = regexp.MustCompile(origin + pathOnly + `(\?[-._~!$&'()*+,;=:@/?%a-zA-Z0-9]*)?$`)
)

func (e Endpoints) problem() string {
	_, reachable := ParseToken(e.Token)
	const must = "must be a URL of https or, of a Service of the cluster, of http"
	switch {
	case !queried.MatchString(e.Authorization) || len(e.Authorization) > maxURL:
		return "authorization_endpoint " + must
	case !plain.MatchString(e.Token) || !reachable || len(e.Token) > maxURL:
		return "token_endpoint " + must + ", without a query"
	case e.EndSession != "" && (!plain.MatchString(e.EndSession) || len(e.EndSession) > maxURL):
		return "end_session_endpoint " + must + ", without a query"
	}
	return ""
}

const maxURL = 1024

// The ways in which a client sends its secret, of which the first is what each provider must know.
const (
	byBasic = "client_secret_basic"
	byPost  = "client_secret_post"
)

// post says whether a client's secret is sent in the body, for the provider takes it nowhere else.
func (e Endpoints) post() bool {
	return slices.Contains(e.Methods, byPost) && !slices.Contains(e.Methods, byBasic)
}

func (e Endpoints) text() string {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

// ParseEndpoints are those of a text; false if it has none.
func ParseEndpoints(text string) (e Endpoints, ok bool) {
	err := json.Unmarshal([]byte(text), &e)
	return e, err == nil && e.problem() == ""
}
