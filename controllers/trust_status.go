package controllers

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/pki"
)

// Limits of the Mesh's status.
const (
	maxRoots   = 16
	maxWaiting = 32
)

// waiting is the phase while nothing was ever signed, as the Mesh says it.
const waiting = "Waiting"

// whyWaiting says what the mesh's identities wait for.
func whyWaiting(s *v1alpha1.IdentityStatus) string {
	if s != nil && len(s.Problems) > 0 && s.Problems[0].ServiceAccount == "" {
		return s.Problems[0].Message
	}
	return "The issuer of the mesh's identities is being looked at."
}

// Status is what the Mesh says of identity; nil before it is known.
func (t *Trust) Status() *v1alpha1.IdentityStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status.DeepCopy()
}

func (t *Trust) say(s v1alpha1.IdentityStatus) {
	t.mu.Lock()
	same := equality.Semantic.DeepEqual(t.status, &s)
	t.status = &s
	t.mu.Unlock()
	if !same {
		t.Changed()
	}
}

// report is the status of a state. problem is what is wrong with the issuer that the Mesh names.
func (t *Trust) report(state pki.State, o pki.Observation, problem string) v1alpha1.IdentityStatus {
	s := v1alpha1.IdentityStatus{Phase: cmp.Or(string(state.Phase), waiting)}
	if state.Phase != pki.Waiting {
		s.Issuer = state.Issuer.String()
	}
	for _, r := range state.Trusted {
		s.RootsTrusted = append(s.RootsTrusted, r.Fingerprint())
	}
	s.RootsTrusted = s.RootsTrusted[:min(len(s.RootsTrusted), maxRoots)]
	waiting := state.WaitingFor(o)
	s.WaitingFor = slices.Clone(waiting[:min(len(waiting), maxWaiting)])
	if problem != "" {
		s.Problems = append(s.Problems, v1alpha1.IdentityProblem{Message: clip(problem, maxRefusalDetail)})
	}
	ids := t.Identities()
	s.Accounts = int32(len(ids))
	for _, id := range ids {
		if id.Problem != "" {
			s.Problems = append(s.Problems, v1alpha1.IdentityProblem{ServiceAccount: id.Account, Message: clip(id.Problem, maxRefusalDetail)})
		}
	}
	slices.SortFunc(s.Problems, func(a, b v1alpha1.IdentityProblem) int { return cmp.Compare(a.ServiceAccount, b.ServiceAccount) })
	s.Problems = s.Problems[:min(len(s.Problems), maxWaiting)]
	return s
}
