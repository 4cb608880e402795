// Package authz is what is remembered of what proxies decide about who may call what.
//
//	policies about whom is called → Law, which a proxy has beside its filters
//	a request that it refuses     → Record: Law, Input, verdict → Window → weft why ID
//	                                                            → Tally  → weft authz shadow
//	                                                            → Entry → Chain, a file → verify, replay
//
// A Law names policies by digests of what they say. What a digest stands for is in a Shelf as long as there is room, so
// that a Record means later what it meant when it was made. Nothing here has a clock, a connection or a file: these
// have internal/authz/als, which proxies tell, and internal/authz/journal, which writes.
package authz

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Law is by what a proxy decides on requests to a port of whom it is beside, or to a rule of a Gateway.
type Law struct {
	TrustDomain string            `json:"trustDomain"`
	Gateway     bool              `json:"gateway,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"` // of whom is called: those that policies ask for
	// Accounts are the ServiceAccounts of Gateways that policies name, by namespace/name.
	Accounts map[string]string `json:"accounts,omitempty"`
	Claims   []string          `json:"claims,omitempty"`  // that are told of tokens, by the first of their keys
	Headers  []string          `json:"headers,omitempty"` // that are told of requests
	Levels   []Level           `json:"levels,omitempty"`  // from outside in
}

// Level are the policies of one.
type Level struct {
	Name     string   `json:"name"`
	Claims   string   `json:"claims,omitempty"` // the key of the verified claims that they go by; "": they have none
	Policies []Policy `json:"policies"`
}

// Policy is what one said when it was decided by.
type Policy struct {
	Key    string `json:"key"` // namespace/name
	Digest string `json:"digest"`
	Shadow bool   `json:"shadow,omitempty"`
}

// Digest is that of a section: of two that say something else it is another one.
func Digest(a *v1alpha1.Authorization) string {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // it is plain data
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// maxLaw is how long a Law may be as proxies tell it. What is longer says no more than that it was.
const maxLaw = 16 << 10

// Text is a Law as proxies have it.
func (l Law) Text() string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // it is plain data
	}
	if len(text) > maxLaw {
		return Law{TrustDomain: l.TrustDomain, Gateway: l.Gateway}.Text()
	}
	return string(text)
}

// GatewayAccount is as a policy is read by.
func (l Law) GatewayAccount(namespace, name string) string { return l.Accounts[namespace+"/"+name] }

// Digests are those of all policies.
func (l *Law) Digests() (out []string) {
	if l == nil {
		return nil
	}
	for _, level := range l.Levels {
		for _, p := range level.Policies {
			out = append(out, p.Digest)
		}
	}
	return out
}
