package controllers

import (
	"context"
	"fmt"
	"time"

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
	accounts := map[string]string{pki.Intermediate: ""} // by name of the Secret
	for _, id := range t.Identities() {
		if id.Problem != "" {
			accounts[pki.SecretName(id.Account)] = id.Account
		}
	}
	for name, account := range accounts {
		secret, err := t.secret(ctx, name)
		if err != nil {
			return false, err
		}
		if secret == nil || pki.IssuerOf(secret) != s.Issuer {
			continue
		}
		if issued, root := signedBy(s, secret, account); issued.After(probe.Issued) && !state.Knows(root) {
			return true, nil
		}
	}
	return false, nil
}

// signedBy is when, and by which root, what a Secret holds was signed; never, if it cannot be used. An
// empty account stands for the intermediate authority.
func signedBy(s pki.Settings, secret *corev1.Secret, account string) (time.Time, pki.Root) {
	if account == "" {
		by, problem := pki.IntermediateOf(secret)
		if problem != "" {
			return time.Time{}, ""
		}
		return by.Cert.NotBefore, by.Root
	}
	roots, _ := pki.RootsOf(secret)
	leaf, _ := s.CheckSecret(secret, account, roots)
	return leaf.Issued, leaf.Root
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
