package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/pki"
)

// probe reads the roots of the issuer that the Mesh names; none, and why, while it has not signed.
func (t *Trust) probe(ctx context.Context, s pki.Settings, state pki.State) ([]pki.Root, string, error) {
	secret, err := t.secret(ctx, pki.Probe)
	if err != nil {
		return nil, "", err
	}
	if secret == nil || pki.IssuerOf(secret) != s.Issuer {
		return nil, fmt.Sprintf("%s has signed nothing yet: see the events of Certificate %s/%s, and whether the issuer is Ready", s.Issuer, v1alpha1.SystemNamespace, pki.Probe), nil
	}
	roots, problem := pki.RootsOf(secret)
	if problem != "" {
		return nil, problem, nil
	}
	leaf, problem := s.CheckProbe(secret, roots)
	if problem != "" {
		return nil, problem, nil
	}
	newer, err := t.newRoot(ctx, s, state, leaf)
	if newer {
		err = remove(ctx, t.Client, secret) // cert-manager has it signed again
	}
	return roots, "", err
}

// newRoot says whether the issuer has signed something since the probe by a root that the probe does
// not know: the authority behind the issuer was replaced.
func (t *Trust) newRoot(ctx context.Context, s pki.Settings, state pki.State, probe pki.Leaf) (bool, error) {
	for _, id := range t.Identities() {
		if id.Problem == "" {
			continue
		}
		secret, err := t.secret(ctx, pki.SecretName(id.Account))
		if err != nil {
			return false, err
		}
		if secret == nil || pki.IssuerOf(secret) != s.Issuer {
			continue
		}
		roots, _ := pki.RootsOf(secret)
		if leaf, problem := s.CheckSecret(secret, id.Account, roots); problem == "" && leaf.Issued.After(probe.Issued) && !state.Knows(leaf.Root) {
			return true, nil
		}
	}
	return false, nil
}

// secret reads a Secret of weft-system; nil if there is none.
func (t *Trust) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := t.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: name}, &secret)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", v1alpha1.SystemNamespace, name, err)
	}
	if err != nil {
		return nil, nil
	}
	return &secret, nil
}
