package controllers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/pki"
)

// Signer signs the certificates of workloads in memory, where the Mesh says issuance: Intermediate. Every
// replica does so for its own proxies: no key of a workload leaves it but to the workload.
type Signer struct {
	Client client.Client
	Cache  cache.Cache
	Core   *core.Core

	wanted map[string]mesh.Identity // by ServiceAccount
	signed map[string]signature
}

// signature says by which certificate a leaf was signed, as what, and when to sign it again.
type signature struct {
	by    *x509.Certificate
	as    pki.Settings
	renew time.Time
}

// signerRetry is how long after a failure it is tried again, and how far renewals are apart at least.
const signerRetry = 10 * time.Second

// NeedLeaderElection is false: every replica signs.
func (s *Signer) NeedLeaderElection() bool { return false }

// Start signs until ctx ends.
func (s *Signer) Start(ctx context.Context) error {
	s.wanted, s.signed = map[string]mesh.Identity{}, map[string]signature{}
	again := make(chan struct{}, 1)
	look := func(any) {
		select {
		case again <- struct{}{}:
		default:
		}
	}
	err := follow(ctx, s.Cache, &corev1.Secret{}, func(obj any) {
		if keyOf(obj) == v1alpha1.SystemNamespace+"/"+pki.Intermediate {
			look(obj)
		}
	})
	if err == nil {
		err = follow(ctx, s.Cache, &v1alpha1.Mesh{}, look)
	}
	if err != nil {
		return fmt.Errorf("sign certificates: %w", err)
	}
	for {
		next := time.NewTimer(s.pass(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-s.Core.Signed.Ready():
		case <-again:
		case <-next.C:
		}
		next.Stop()
	}
}

// pass signs what is missing or due, and says when to look again.
func (s *Signer) pass(ctx context.Context) time.Duration {
	for _, id := range s.Core.Signed.Take() {
		if s.wanted[id.Account] = id; !id.Wanted {
			delete(s.wanted, id.Account)
		}
	}
	next, err := s.sign(ctx, time.Now())
	if err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "Not signed")
		return signerRetry
	}
	return next
}

func (s *Signer) sign(ctx context.Context, now time.Time) (time.Duration, error) {
	var settings v1alpha1.Mesh
	if err := s.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &settings); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	as := pki.SettingsOf(&settings)
	s.drop(as)
	if as.Issuance != v1alpha1.IssuanceIntermediate {
		return as.Lifetime, nil
	}
	by, err := s.authority(ctx)
	if by == nil || err != nil {
		return as.Lifetime, err
	}
	next := as.Lifetime
	for account := range s.wanted {
		had, has := s.signed[account]
		if !has || had.as != as || !had.by.Equal(by.Cert) || !had.renew.After(now) {
			if had, err = s.signOne(as, by, account, now); err != nil {
				return 0, err
			}
			s.signed[account] = had
		}
		next = min(next, had.renew.Sub(now))
	}
	return max(next, signerRetry), nil
}

// drop forgets the leaves that nobody wants and, once a Certificate serves in its place, those that
// are not signed any more.
func (s *Signer) drop(as pki.Settings) {
	for account := range s.signed {
		id, wanted := s.wanted[account]
		if !wanted || as.Issuance != v1alpha1.IssuanceIntermediate && id.Problem == "" && !id.Signed {
			delete(s.signed, account)
			cluster.Delete(s.Core.Inbox(), s.Core.Tables().Leaves, account)
		}
	}
}

// authority is the intermediate; nil while there is none that can sign: the status of the Mesh says why.
func (s *Signer) authority(ctx context.Context) (*pki.Authority, error) {
	var secret corev1.Secret
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: pki.Intermediate}, &secret)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", v1alpha1.SystemNamespace, pki.Intermediate, err)
	}
	if err != nil {
		return nil, nil
	}
	by, problem := pki.IntermediateOf(&secret)
	if problem != "" {
		return nil, nil
	}
	return &by, nil
}

func (s *Signer) signOne(as pki.Settings, by *pki.Authority, account string, now time.Time) (signature, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signature{}, fmt.Errorf("make a key: %w", err)
	}
	chain, renew, err := as.Sign(*by, account, &key.PublicKey, now, rand.Reader)
	if err != nil {
		return signature{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return signature{}, fmt.Errorf("write a key: %w", err)
	}
	cluster.Put(s.Core.Inbox(), s.Core.Tables().Leaves, account, cluster.Leaf{
		Chain: chain, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), Issuer: by.Issuer,
	})
	return signature{by.Cert, as, renew}, nil
}
