package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete

// keptLabel marks the ConfigMaps of weft-system in which key sets are kept.
const keptLabel = "mesh.weft.dev/kept"

// What is kept in ConfigMaps, as their keptLabel says.
const (
	keptKeys    = "jwks"
	keptModules = "rego"
)

const (
	keySetWorkers = 8                // policies whose key sets are fetched at once
	keySetRetry   = 10 * time.Second // after one could not be had
)

// KeySets fetches the key sets that sections jwt name by URL, or in Secrets, and what sections oidc look up of
// providers, and keeps each in a ConfigMap of weft-system, where all replicas read it as any other object. What was fetched last stays there while it cannot be
// had. Only the leader fetches.
type KeySets struct {
	client.Client
	Live  client.Reader // not from a cache
	Fetch func(ctx context.Context, url string) (text string, err error)
	Now   func() time.Time

	kept perPolicy
	mu   sync.Mutex
	due  map[string]time.Time // by ConfigMap: when it is to be fetched again
}

// SetupKeySets starts KeySets on the leader.
func SetupKeySets(mgr ctrl.Manager) error {
	k := &KeySets{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Fetch: fetchKeySet, Now: time.Now}
	options := retrying()
	options.MaxConcurrentReconciles = keySetWorkers
	err := ctrl.NewControllerManagedBy(mgr).
		Named("keysets").
		WithOptions(options).
		For(&v1alpha1.MeshPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(k)
	if err != nil {
		return fmt.Errorf("start the controller of key sets: %w", err)
	}
	return nil
}

// Reconcile fetches what one policy names, as far as that is due.
func (k *KeySets) Reconcile(ctx context.Context, at ctrl.Request) (ctrl.Result, error) {
	var p v1alpha1.MeshPolicy
	if err := k.Get(ctx, at.NamespacedName, &p); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read MeshPolicy %s: %w", at, err)
	}
	sources := sourcesOf(&p) // none of one that is gone
	failed := []error{k.seal(ctx, &p)}
	if k.kept.differ(at.String(), keptFor(&p)) {
		failed = append(failed, k.sweep(ctx))
	}
	var next time.Duration
	if p.Spec.OIDC != nil {
		next = keySetRetry // what seals sessions may be deleted
	}
	for _, s := range sources {
		wait := k.claim(s)
		if wait <= 0 {
			err := k.keep(ctx, s)
			failed = append(failed, err)
			wait = k.settle(s, err)
		}
		if next == 0 || wait < next {
			next = wait
		}
	}
	return ctrl.Result{RequeueAfter: next}, ignoreProblems(errors.Join(failed...))
}

// claim says how long it is until a source is to be fetched. Of several policies that name it, the first whose time
// has come fetches it.
func (k *KeySets) claim(s jwt.Source) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.Now()
	wait := k.due[s.Kept()].Sub(now)
	if wait > s.Refresh { // another policy is content with an older one
		wait = 0
	}
	if k.due == nil {
		k.due = map[string]time.Time{}
	}
	if wait <= 0 {
		k.due[s.Kept()] = now.Add(min(s.Refresh, keySetRetry))
	}
	return wait
}

// settle says when a source that was fetched, or could not be, is to be fetched again.
func (k *KeySets) settle(s jwt.Source, err error) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait := s.Refresh
	if err != nil {
		wait = min(wait, keySetRetry)
	}
	k.due[s.Kept()] = k.Now().Add(wait)
	return wait
}

// unfetched says why a key set cannot be had: those who wrote the policy are told, by its condition.
type unfetched struct{ text string }

func (p unfetched) Error() string { return p.text }

// ignoreProblems leaves what is not the operator's own trouble.
func ignoreProblems(err error) error {
	var told unfetched
	if errors.As(err, &told) {
		return nil
	}
	return err
}

// keep fetches a source and keeps what comes of it.
func (k *KeySets) keep(ctx context.Context, s jwt.Source) error {
	text, wrong := k.read(ctx, s)
	if wrong == nil {
		public, bad := understood(s, text)
		if text = public; bad != "" {
			wrong = unfetched{s.String() + " " + bad}
		}
	}
	data := map[string]string{room.KeptText: text}
	if wrong != nil {
		var before corev1.ConfigMap
		if err := k.Live.Get(ctx, systemName(s.Kept()), &before); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read ConfigMap %s: %w", systemName(s.Kept()), err)
		}
		data = map[string]string{room.KeptText: before.Data[room.KeptText], room.KeptProblem: wrong.Error()}
	}
	return errors.Join(wrong, apply(ctx, k.Client, keptIn(s.Kept(), keptKeys, s.String(), data)))
}

// sourcesOf are those of a policy's sections.
func sourcesOf(p *v1alpha1.MeshPolicy) []jwt.Source {
	return append(jwt.Sources(p), oidc.Sources(p)...)
}

// keptFor are the names of what is kept in weft-system for a policy.
func keptFor(p *v1alpha1.MeshPolicy) (names []string) {
	for _, s := range sourcesOf(p) {
		names = append(names, s.Kept())
	}
	if p.Spec.OIDC != nil {
		names = append(names, sealOf(p))
	}
	return names
}

// understood is what proxies need of a text that was fetched, or what is wrong with it.
func understood(s jwt.Source, text string) (out, problem string) {
	if s.Issuer != "" {
		return oidc.Discovered(text, s.Issuer)
	}
	return jwt.KeySet(text)
}

// keptIn is the ConfigMap of weft-system in which something is kept, which ours finds by what it is.
func keptIn(name, what, source string, data map[string]string) *corev1.ConfigMap {
	maps.DeleteFunc(data, func(_, v string) bool { return v == "" })
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.SystemNamespace, Name: name,
			Labels:      map[string]string{gateway.ManagedByLabel: gateway.ManagedBy, keptLabel: what},
			Annotations: map[string]string{"mesh.weft.dev/source": source},
		},
		Data: data,
	}
}

// read is the key set of a source as it is there, or a problem.
func (k *KeySets) read(ctx context.Context, s jwt.Source) (string, error) {
	if s.URL != "" {
		text, err := k.Fetch(ctx, s.URL)
		if err != nil {
			return "", unfetched{fmt.Sprintf("%s: %v", s, err)}
		}
		return text, nil
	}
	var secret corev1.Secret
	switch err := k.Live.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Secret}, &secret); {
	case apierrors.IsNotFound(err):
		return "", unfetched{fmt.Sprintf("Secret %s/%s does not exist: create it, or name another", s.Namespace, s.Secret)}
	case err != nil:
		return "", unfetched{fmt.Sprintf("Secret %s/%s cannot be read now", s.Namespace, s.Secret)}
	case secret.Data[s.Key] == nil:
		return "", unfetched{fmt.Sprintf("Secret %s/%s has no data[%q]: add it, or name another", s.Namespace, s.Secret, s.Key)}
	}
	return string(secret.Data[s.Key]), nil
}

// sweep deletes what is kept of sources that no policy names, and what no policy's sessions are sealed by. What is kept
// is read before policies: for what is there, its policy is too.
func (k *KeySets) sweep(ctx context.Context) error {
	var sessions corev1.SecretList
	var kept corev1.ConfigMapList
	var all v1alpha1.MeshPolicyList
	err := errors.Join(k.List(ctx, &sessions, ours(sessionLabel)...), k.List(ctx, &kept, ours(keptKeys)...), k.List(ctx, &all))
	if err != nil {
		return fmt.Errorf("list what is kept for policies: %w", err)
	}
	wanted := map[string]bool{}
	for i := range all.Items {
		for _, name := range keptFor(&all.Items[i]) {
			wanted[name] = true
		}
	}
	var failed []error
	for i := range kept.Items {
		if cm := &kept.Items[i]; !wanted[cm.Name] {
			failed = append(failed, drop(ctx, k, cm))
			k.forget(cm.Name)
		}
	}
	for i := range sessions.Items {
		if s := &sessions.Items[i]; !wanted[s.Name] && s.Type == v1alpha1.SecretTypeOIDCSession {
			failed = append(failed, drop(ctx, k, s))
		}
	}
	return errors.Join(failed...)
}

// ours are the objects of weft-system with one value of keptLabel.
func ours(kept string) []client.ListOption {
	return []client.ListOption{
		client.InNamespace(v1alpha1.SystemNamespace), client.MatchingLabels{gateway.ManagedByLabel: gateway.ManagedBy, keptLabel: kept},
	}
}

// drop deletes an object as it was read, unless it is gone.
func drop(ctx context.Context, c client.Client, o client.Object) error {
	return client.IgnoreNotFound(c.Delete(ctx, o, client.Preconditions{UID: new(o.GetUID())}))
}

func (k *KeySets) forget(kept string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.due, kept)
}
