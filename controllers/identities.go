package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/pki"
)

// +kubebuilder:rbac:groups="",namespace=weft-system,resources=secrets,verbs=delete

// unusedSince on the Certificate of an identity says since when nothing has it. It is kept there so
// that a restart of the operator does not begin the time anew.
const unusedSince = "mesh.weft.dev/unused-since"

// An identity that nothing has any more is kept for identityGrace, so that a Deployment that is scaled
// to zero and back needs no new certificate. What has run out is looked for every identitySweep.
const (
	identityGrace = 10 * time.Minute
	identitySweep = time.Minute
)

// Identities makes the cert-manager Certificate of each identity, in weft-system, and deletes it and its
// key some time after the last pod. Only the leader does, once cert-manager is there.
type Identities struct {
	Client  client.Client
	Cache   cache.Cache
	Outbox  *cluster.Outbox[mesh.Identity]
	Known   func() []mesh.Identity // what is known of every identity, now
	Changed func()                 // called after an identity changed
	Grace   time.Duration          // instead of identityGrace
	Sweep   time.Duration          // instead of identitySweep
}

// NeedLeaderElection is true: one replica writes.
func (i *Identities) NeedLeaderElection() bool { return true }

// Start makes Certificates until ctx ends.
func (i *Identities) Start(ctx context.Context) error {
	w := &writer[mesh.Identity]{
		outbox:  i.Outbox,
		of:      func(id mesh.Identity) subject { return subject{"ServiceAccount", id.Account} },
		write:   i.write,
		workers: certificateWorkers,
	}
	w.follow = func(ctx context.Context, kind string) error {
		return follow(ctx, i.Cache, &cmv1.Certificate{}, func(obj any) {
			if cert, ok := obj.(*cmv1.Certificate); ok && cert.Labels[pki.RoleLabel] == pki.RoleIdentity {
				w.again(subject{kind, cert.Annotations[pki.AccountAnnotation]})
			}
		})
	}
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sweeping.Go(func() { i.sweepUntil(ctx) })
	return w.run(ctx)
}

// write makes the Certificate of one identity so.
func (i *Identities) write(ctx context.Context, _ subject, id mesh.Identity) (done bool, err error) {
	i.Changed()
	if id.Certificate == nil {
		return !id.Wanted, nil
	}
	return false, apply(ctx, i.Client, id.Certificate)
}

// unused says that no pod, or no pod by this Certificate, has an identity of which that is known.
func unused(id mesh.Identity) bool { return !id.Wanted || id.Certificate == nil && id.Signed }

func (i *Identities) sweepUntil(ctx context.Context) {
	ticks := time.NewTicker(cmp.Or(i.Sweep, identitySweep))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := i.sweep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Identities not cleared away")
		}
	}
}

// sweep deletes the Certificates that nothing has used for the time of grace, and the Secrets whose
// Certificate is gone.
func (i *Identities) sweep(ctx context.Context) error {
	var certs cmv1.CertificateList
	var secrets corev1.SecretList
	ours := []client.ListOption{
		client.InNamespace(v1alpha1.SystemNamespace), client.HasLabels{pki.RoleLabel},
		client.MatchingLabels{gateway.ManagedByLabel: gateway.ManagedBy},
	}
	if err := errors.Join(i.Client.List(ctx, &certs, ours...), i.Client.List(ctx, &secrets, ours...)); err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	used := map[string]bool{}
	for _, id := range i.Known() {
		used[id.Account] = !unused(id)
	}
	var failed []error
	held := map[string]bool{}
	for n := range certs.Items {
		cert := &certs.Items[n]
		held[cert.Spec.SecretName] = true
		if cert.Labels[pki.RoleLabel] == pki.RoleIdentity && !used[cert.Annotations[pki.AccountAnnotation]] {
			failed = append(failed, i.retire(ctx, cert))
		}
	}
	for n := range secrets.Items {
		s := &secrets.Items[n]
		if !held[s.Name] && time.Since(s.CreationTimestamp.Time) > i.grace() {
			failed = append(failed, remove(ctx, i.Client, s))
		}
	}
	return errors.Join(failed...)
}

func (i *Identities) grace() time.Duration { return cmp.Or(i.Grace, identityGrace) }

// retire marks a Certificate as unused, or deletes it when it has been for long enough.
func (i *Identities) retire(ctx context.Context, cert *cmv1.Certificate) error {
	since, err := time.Parse(time.RFC3339, cert.Annotations[unusedSince])
	switch {
	case err == nil && time.Since(since) < i.grace():
		return nil
	case err == nil:
		return remove(ctx, i.Client, cert)
	}
	marked := &cmv1.Certificate{
		TypeMeta: metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: cmv1.CertificateKind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cert.Namespace, Name: cert.Name, Labels: cert.Labels,
			Annotations: map[string]string{
				pki.AccountAnnotation: cert.Annotations[pki.AccountAnnotation],
				unusedSince:           time.Now().UTC().Format(time.RFC3339),
			},
		},
		Spec: cert.Spec,
	}
	return apply(ctx, i.Client, marked)
}

// remove deletes what was read of an object, and nothing that took its name since.
func remove(ctx context.Context, c client.Client, obj client.Object) error {
	uid := obj.GetUID()
	if err := c.Delete(ctx, obj, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %T %s: %w", obj, keyOf(obj), err)
	}
	return nil
}
