package authz

import (
	"time"

	"github.com/weft-mesh/weft/internal/opa"
)

// Verdict is what a proxy did.
type Verdict string

// The Verdicts.
const (
	Allowed Verdict = "Allowed"
	Denied  Verdict = "Denied"
)

// Record is one decision of one proxy. A request has one of each proxy on its way that decides.
type Record struct {
	ID      string    `json:"id"` // x-request-id
	Time    time.Time `json:"time"`
	Proxy   Proxy     `json:"proxy"`
	Verdict Verdict   `json:"verdict"`
	Status  int       `json:"status,omitempty"`  // that the caller was answered
	Details string    `json:"details,omitempty"` // Envoy's words for it
	Section string    `json:"section,omitempty"` // by which it was denied
	Rule    string    `json:"rule,omitempty"`    // that denied: <namespace>/<policy>/<rule>; or by what form of the request
	Shadow  *Shadow   `json:"shadow,omitempty"`  // what policies in Shadow would have made of it; nil: none was tried
	Route   string    `json:"route,omitempty"`
	Law     *Law      `json:"law,omitempty"` // nil: it was denied before policies were asked
	// Input is version 1 of what internal/opa says, without a token.
	Input  opa.Input                 `json:"input"`
	Tokens map[string]map[string]any `json:"tokens,omitempty"` // claims, by the key that levels go by
	// Cut are the parts that were too long to be kept. What they were is not known.
	Cut []string `json:"cut,omitempty"`
}

// Proxy is who tells, as its token proved.
type Proxy struct {
	Namespace      string `json:"namespace"`
	Pod            string `json:"pod"`
	ServiceAccount string `json:"serviceAccount"`
}

// Workload is what all pods of a ServiceAccount are together.
func (p Proxy) Workload() string { return p.Namespace + "/" + p.ServiceAccount }

// Shadow is what a policy would have done, were it enforced.
type Shadow struct {
	Result  Verdict `json:"result"`
	Section string  `json:"section,omitempty"`
	Policy  string  `json:"policy,omitempty"` // its key
	Rule    string  `json:"rule,omitempty"`
}

// Caller is who called, as far as anybody knows.
func (r Record) Caller() string {
	switch {
	case r.Input.Source.Principal != "":
		return r.Input.Source.Principal
	case r.Input.Source.IP != "":
		return r.Input.Source.IP
	}
	return "somebody"
}

// Method is that of the request.
func (r Record) Method() string {
	if r.Input.Request == nil {
		return ""
	}
	return r.Input.Request.Method
}
