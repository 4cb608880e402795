package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// An API server that is away must not end Weft, which serves proxies all the while, and when it is
// back Weft must know at once what has changed: whoever stops a pod knows it, too.

const (
	leaseName = "weft.mesh.weft.dev"

	// RenewDeadline is how long a leader goes on after it has heard that another one leads.
	RenewDeadline = 5 * time.Second

	// maxRetry bounds how long after an outage what failed in it is tried again.
	maxRetry = 5 * time.Second
	minRetry = 5 * time.Millisecond

	// askAgain is the least pause between two questions to an API server that does not answer; the most is
	// twice that. client-go alone pauses for up to a minute (the reflector's backoff).
	askAgain = 500 * time.Millisecond

	// startup is how long an API server that starts may refuse what it allows, until it knows its rules.
	startup = 15 * time.Second
)

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=weft-system,resources=leases,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=weft-system,resources=leases,resourceNames=weft.mesh.weft.dev,verbs=get;update

// Lease is the lock of the replica that writes.
func Lease(config *rest.Config) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, v1alpha1.SystemNamespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}, config, RenewDeadline)
	if err != nil {
		return nil, fmt.Errorf("make the lease of the leader: %w", err)
	}
	return &lease{Interface: lock}, nil
}

// lease lets a leader lead until it hears that its lease is another's. While nobody answers it cannot
// write anything that a second leader could mind.
type lease struct {
	resourcelock.Interface
	held, silent bool // by what was last answered; only the elector's goroutine uses them
}

func (l *lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, record)
	l.held = err == nil
	return err
}

func (l *lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	mine := record.HolderIdentity == l.Identity()
	err := l.Interface.Update(ctx, record)
	if mine && l.held && err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		if !l.silent && ctx.Err() == nil {
			log.FromContext(ctx).Info("The API server does not renew the lease: leading on until it says that another leads", "error", err.Error())
			l.silent = true
		}
		return nil
	}
	l.silent = false
	if err == nil {
		l.held = mine
	}
	return err
}

func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil {
		l.held = l.held && record.HolderIdentity == l.Identity()
	}
	return record, raw, err
}

// attentive asks an API server that does not answer again and again.
type attentive struct{ toolscache.ListerWatcher }

// newInformer is an informer that resumes within a second of the API server's return.
func newInformer(lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(attentive{lw}, kind, resync, by)
}

func (a attentive) ListWithContext(ctx context.Context, o metav1.ListOptions) (list runtime.Object, err error) {
	err = untilAnswered(ctx, func() error {
		list, err = toolscache.ToListerWithContext(a.ListerWatcher).ListWithContext(ctx, o)
		return err
	})
	return list, err
}

func (a attentive) WatchWithContext(ctx context.Context, o metav1.ListOptions) (w watch.Interface, err error) {
	err = untilAnswered(ctx, func() error {
		w, err = toolscache.ToWatcherWithContext(a.ListerWatcher).WatchWithContext(ctx, o)
		return err
	})
	return w, err
}

func untilAnswered(ctx context.Context, ask func() error) error {
	var starting time.Time // when a server that was away may still refuse everybody
	for {
		err := ask()
		switch {
		case err == nil:
			return nil
		case !answered(err):
			starting = time.Now().Add(startup)
		case !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) || time.Now().After(starting):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait.Jitter(askAgain, 1)):
		}
	}
}

// answered tells whether an error is the API server's word on what was asked, not on its own state.
func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsTooManyRequests(err) &&
		!apierrors.IsServerTimeout(err) && !apierrors.IsTimeout(err)
}

// retries pause, after each failure twice as long, from minRetry to maxRetry.
func retries[T comparable]() workqueue.TypedRateLimiter[T] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[T](minRetry, maxRetry)
}

// retrying are the options of every controller.
func retrying() controller.Options {
	return controller.Options{RateLimiter: retries[reconcile.Request]()}
}
