package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
)

// certificateWorkers apply at once.
const certificateWorkers = 4

// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=create;patch;delete

// Certificates makes the cert-manager Certificates that the core wants for Gateways, and deletes
// those it made and wants no more. Only the leader does, once cert-manager is there.
type Certificates struct {
	Client client.Client
	Cache  cache.Cache
	Live   client.Reader // the API server itself
	Outbox *cluster.Outbox[core.Certificates]
	Events events.EventRecorder

	made sync.Map // keys of Gateways for which something was made
}

// NeedLeaderElection is true: one replica writes.
func (c *Certificates) NeedLeaderElection() bool { return true }

// Start makes Certificates until ctx ends.
func (c *Certificates) Start(ctx context.Context) error {
	w := &writer[core.Certificates]{
		outbox:  c.Outbox,
		of:      func(of core.Certificates) subject { return subject{"Gateway", of.Gateway} },
		write:   c.write,
		workers: certificateWorkers,
	}
	w.follow = func(ctx context.Context, _ string) error {
		return follow(ctx, c.Cache, &cmv1.Certificate{}, func(obj any) {
			w.againWhere(func(of core.Certificates) bool { return concerns(keyOf(obj), of) })
		})
	}
	return w.run(ctx)
}

// concerns tells whether a Gateway wants the Certificate of that key, or one in its place.
func concerns(certificate string, of core.Certificates) bool {
	return slices.ContainsFunc(of.Wanted, func(c mesh.Certificate) bool { return c.Namespace+"/"+c.Name == certificate })
}

// write makes the Certificates of one Gateway so. It is done when none are wanted and none are left.
func (c *Certificates) write(ctx context.Context, at subject, of core.Certificates) (done bool, err error) {
	keep := map[string]bool{}
	var failed []error
	for _, wanted := range of.Wanted {
		keep[wanted.Name] = true
		c.made.Store(at.key, true)
		failed = append(failed, c.ensure(ctx, wanted))
	}
	failed = append(failed, c.prune(ctx, at, keep))
	err = errors.Join(failed...)
	if done = len(of.Wanted) == 0; done && err == nil {
		c.made.Delete(at.key)
	}
	return done, err
}

// ensure applies one Certificate, unless somebody else's has its name.
func (c *Certificates) ensure(ctx context.Context, wanted mesh.Certificate) error {
	want := listenerCertificate(wanted)
	live, err := liveOf(ctx, c.Client, want)
	if err != nil {
		return err
	}
	if live != nil && !metav1.IsControlledBy(live, wanted.Gateway) {
		c.Events.Eventf(wanted.Gateway, live, corev1.EventTypeWarning, "CertificateTaken", "Apply",
			"Certificate %s is needed for this Gateway but was not made for it: delete it, or remove the annotation %s", wanted.Name, mesh.IssuerAnnotation)
		return nil
	}
	return applyOver(ctx, c.Client, live, want)
}

func listenerCertificate(wanted mesh.Certificate) *cmv1.Certificate {
	meta := metav1.ObjectMeta{
		Namespace: wanted.Namespace, Name: wanted.Name,
		Labels:          map[string]string{gateway.ManagedByLabel: gateway.ManagedBy},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(wanted.Gateway, gatewayVersion.WithKind("Gateway"))},
	}
	return certificate(meta, cmv1.CertificateSpec{
		DNSNames:   wanted.DNSNames,
		SecretName: wanted.Name,
		Usages:     []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageServerAuth},
		IssuerRef:  cmmeta.IssuerReference{Group: cmv1.SchemeGroupVersion.Group, Kind: wanted.Issuer.Kind, Name: wanted.Issuer.Name},
	})
}

// prune deletes what was made for a Gateway and is not kept. What was made just now, the cache may
// not hold yet.
func (c *Certificates) prune(ctx context.Context, at subject, keep map[string]bool) error {
	var made cmv1.CertificateList
	name, reader := at.name(), client.Reader(c.Client)
	if _, fresh := c.made.Load(at.key); fresh {
		reader = c.Live
	}
	err := reader.List(ctx, &made, client.InNamespace(name.Namespace), client.MatchingLabels{gateway.ManagedByLabel: gateway.ManagedBy})
	if err != nil {
		return fmt.Errorf("list Certificates of Gateway %s: %w", at.key, err)
	}
	var failed []error
	for i := range made.Items {
		cert := &made.Items[i]
		owner := metav1.GetControllerOf(cert)
		if owner == nil || owner.Kind != at.kind || owner.Name != name.Name || keep[cert.Name] {
			continue
		}
		if err := c.Client.Delete(ctx, cert, client.Preconditions{UID: &cert.UID}); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("delete Certificate %s/%s: %w", cert.Namespace, cert.Name, err))
		}
	}
	return errors.Join(failed...)
}
