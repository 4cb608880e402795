package pki

import (
	"encoding/json"
	"fmt"
	"slices"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase is where a change of root stands.
type Phase string

// The phases.
//
//	Waiting ─→ Steady ─→ Distributing ─→ Switching ─→ Retiring ─→ Steady
//	                          ↑ whatever is wanted changes ↓ ←─────┘
const (
	Waiting      Phase = ""             // no issuer has signed yet
	Steady       Phase = "Steady"       // no change is under way
	Distributing Phase = "Distributing" // proxies are told of new roots
	Switching    Phase = "Switching"    // certificates are issued anew, and proxies are given them
	Retiring     Phase = "Retiring"     // proxies are told to trust the old roots no more
)

// State is what a change of root has come to. All of it is kept in the API server, so that the next
// operator goes on where the last one stopped.
type State struct {
	Serial   uint64 `json:"serial"` // counts the changes of the rest
	Phase    Phase  `json:"phase"`
	Issuer   Issuer `json:"issuer"`             // that certificates are asked of
	Target   Issuer `json:"target"`             // that they will be
	Keep     []Root `json:"keep"`               // Target's
	Trusted  []Root `json:"trusted"`            // every proxy has them
	Incoming []Root `json:"incoming,omitempty"` // proxies are being told of them: nothing may depend on one yet
	Outgoing []Root `json:"outgoing,omitempty"` // proxies are being told to trust them no more
	Retired  uint64 `json:"retired,omitempty"`  // counts how often roots were: what was open before may still depend on one
}

// Observation is what a step depends on, beside the state.
type Observation struct {
	Wanted Issuer // by the Mesh
	Roots  []Root // of Wanted; none: it has not signed yet

	Told     uint64   // the Serial of the state that the proxies were told of last
	Proxies  []string // those that have not acknowledged all that they were told
	Accounts []string // ServiceAccounts whose certificate is not one of Target and Keep
}

// Published are the roots that the proxies are to have.
func (s State) Published() []Root { return slices.Concat(s.Trusted, s.Incoming) }

// Knows says whether a root is, or is about to be, among the Published.
func (s State) Knows(r Root) bool { return slices.Contains(s.Published(), r) }

// Next is the state after what is observed; the same if that changes nothing. A root is used once
// every proxy has it, and withdrawn once nobody uses it; an issuer that does not answer holds up only
// the change towards it.
func Next(s State, o Observation) State {
	n := s.next(o)
	if n.Phase != s.Phase || n.Target != s.Target || !slices.Equal(n.Keep, s.Keep) {
		n.Serial++
	}
	return n
}

func (s State) next(o Observation) State {
	switch {
	case len(o.Roots) == 0:
		return s
	case s.Phase == Waiting: // there is no certificate yet that another root would have to verify
		s.Phase, s.Issuer, s.Target, s.Keep, s.Trusted = Steady, o.Wanted, o.Wanted, o.Roots, o.Roots
		return s
	case s.Target != o.Wanted || !sameRoots(s.Keep, o.Roots):
		s.Phase, s.Target, s.Keep = Distributing, o.Wanted, o.Roots
		s.Incoming = without(o.Roots, s.Trusted) // of those before, nothing depends on any
		return s
	case o.Told != s.Serial || len(o.Proxies) > 0:
		return s
	}
	switch {
	case s.Phase == Distributing:
		s.Phase, s.Issuer, s.Trusted, s.Incoming = Switching, s.Target, s.Published(), nil
	case s.Phase == Switching && len(o.Accounts) == 0:
		s.Outgoing = without(slices.Concat(s.Outgoing, without(s.Trusted, s.Outgoing)), s.Keep)
		s.Phase, s.Trusted = Retiring, s.Keep
	case s.Phase == Retiring:
		if len(s.Outgoing) > 0 {
			s.Retired++
		}
		s.Phase, s.Outgoing = Steady, nil
	}
	return s
}

// WaitingFor says what keeps a state from going on.
func (s State) WaitingFor(o Observation) []string {
	switch s.Phase {
	case Distributing, Retiring:
		return o.Proxies
	case Switching:
		return slices.Concat(o.Proxies, o.Accounts)
	}
	return nil
}

func sameRoots(a, b []Root) bool { return len(without(a, b)) == 0 && len(without(b, a)) == 0 }

func without(a, b []Root) (out []Root) {
	for _, r := range a {
		if !slices.Contains(b, r) {
			out = append(out, r)
		}
	}
	return out
}

// StateName is the ConfigMap, in weft-system, that holds the State.
const StateName = "weft-mesh-roots"

const stateKey = "state"

// ConfigMap holds a state, and beside it the roots for whoever else needs them.
func (s State) ConfigMap() *corev1.ConfigMap {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(StateName),
		Data:       map[string]string{stateKey: string(text), authorityKey: string(Bundle(s.Published()))},
	}
}

// ParseState reads what ConfigMap wrote. The error is for the one who edited it.
func ParseState(cm *corev1.ConfigMap) (State, error) {
	var s State
	if err := json.Unmarshal([]byte(cm.Data[stateKey]), &s); err != nil {
		return State{}, fmt.Errorf("ConfigMap %s/%s: data[%q] is not what Weft wrote: restore it, or delete the ConfigMap to trust only the roots of the issuer that the Mesh names: %w", cm.Namespace, cm.Name, stateKey, err)
	}
	if s.Phase != Waiting && (len(s.Keep) == 0 || len(s.Trusted) == 0) {
		return State{}, fmt.Errorf("ConfigMap %s/%s: data[%q] trusts no root: restore it, or delete the ConfigMap", cm.Namespace, cm.Name, stateKey)
	}
	return s, nil
}

// IssuerNamed is the issuer of a Certificate's issuerRef.
func IssuerNamed(ref cmmeta.IssuerReference) Issuer {
	i := Issuer{ref.Group, ref.Kind, ref.Name}
	if i.Group == "" {
		i.Group = cmv1.SchemeGroupVersion.Group
	}
	if i.Kind == "" {
		i.Kind = cmv1.IssuerKind
	}
	return i
}
