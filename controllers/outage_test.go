package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// remoteLock is a lease on a server that can be away.
type remoteLock struct {
	resourcelock.Interface // of what is not asked here
	mu                     sync.Mutex
	record                 *resourcelock.LeaderElectionRecord
	version, seen          int // as the server has it, and as the client last saw it
	away                   bool
	refused                int
}

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

func (r *remoteLock) Identity() string   { return "us" }
func (r *remoteLock) Describe() string   { return "the lease" }
func (r *remoteLock) RecordEvent(string) {}

func (r *remoteLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		r.refused++
		return nil, nil, syscall.ECONNREFUSED
	}
	if r.record == nil {
		return nil, nil, apierrors.NewNotFound(leases, leaseName)
	}
	r.seen = r.version
	raw, err := json.Marshal(r.record)
	return r.record, raw, err
}

func (r *remoteLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return r.Update(ctx, record)
}

func (r *remoteLock) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		r.refused++
		return syscall.ECONNREFUSED
	}
	if r.seen != r.version {
		return apierrors.NewConflict(leases, leaseName, errors.New("it was changed"))
	}
	r.record, r.version, r.seen = &record, r.version+1, r.version+1
	return nil
}

func (r *remoteLock) goAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *remoteLock) refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// takeOver has another replica hold the lease.
func (r *remoteLock) takeOver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record, r.version = &resourcelock.LeaderElectionRecord{HolderIdentity: "another", LeaseDurationSeconds: 60}, r.version+1
}

// lead runs for leader, and says when it leads and when it does no more.
func lead(t *testing.T, lock resourcelock.Interface) (leads, ended chan struct{}) {
	t.Helper()
	leads, ended = make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: time.Second, RenewDeadline: 100 * time.Millisecond, RetryPeriod: 10 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leads) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		elector.Run(t.Context())
		close(ended)
	}()
	return leads, ended
}

// A leader that nobody answers leads on; one that hears of another leader ends.
func TestALeaderOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	remote := &remoteLock{}
	leads, ended := lead(t, &lease{Interface: remote})
	<-leads
	remote.goAway(true)
	// Far beyond the lease: many tries, each a RetryPeriod after the one before.
	eventually(t, "the lease is asked for in vain", func(context.Context) bool {
		select {
		case <-ended:
			t.Fatal("the leader ended while nobody answered")
		default:
		}
		return remote.refusals() > 100
	}, func() string { return "few tries" })
	remote.takeOver()
	remote.goAway(false)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("two lead")
	}
}

// flaky is a server of ConfigMaps that refuses some questions before it answers.
type flaky struct {
	toolscache.ListerWatcher
	mu       sync.Mutex
	failures []error
	asked    int
}

func (f *flaky) next() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if len(f.failures) == 0 {
		return nil
	}
	err := f.failures[0]
	f.failures = f.failures[1:]
	return err
}

func (f *flaky) List(metav1.ListOptions) (runtime.Object, error) {
	return &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, f.next()
}

func (f *flaky) Watch(metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), f.next() }

// Who asks an API server that does not answer asks again; what it answers is passed on, errors too.
func TestAttentive(t *testing.T) {
	t.Parallel()
	gone, forbidden := apierrors.NewResourceExpired("too old"), apierrors.NewForbidden(leases, "", nil)
	for _, c := range []struct {
		name     string
		failures []error
		want     error
		asked    int
	}{
		{"it answers", nil, nil, 1},
		{"it is away, then starts", []error{syscall.ECONNREFUSED, apierrors.NewTooManyRequestsError("starting")}, nil, 3},
		{"it knows the version no more", []error{syscall.ECONNREFUSED, gone}, gone, 2},
		{"it is away, then knows no rules yet", []error{syscall.ECONNREFUSED, forbidden, forbidden}, nil, 4},
		{"it forbids", []error{forbidden}, forbidden, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ask := map[string]func(attentive) error{
				"list": func(a attentive) error {
					_, err := a.ListWithContext(t.Context(), metav1.ListOptions{})
					return err
				},
				"watch": func(a attentive) error {
					_, err := a.WatchWithContext(t.Context(), metav1.ListOptions{})
					return err
				},
			}
			for name, ask := range ask {
				f := &flaky{failures: c.failures}
				if err := ask(attentive{f}); (err == nil) != (c.want == nil) || err != nil && err.Error() != c.want.Error() {
					t.Errorf("%s: %v, want %v", name, err, c.want)
				}
				if f.asked != c.asked {
					t.Errorf("%s: asked %d times, want %d", name, f.asked, c.asked)
				}
			}
		})
	}
}

func TestAttentiveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &flaky{failures: []error{syscall.ECONNREFUSED, syscall.ECONNREFUSED}}
	if _, err := (attentive{f}).ListWithContext(ctx, metav1.ListOptions{}); !errors.Is(err, syscall.ECONNREFUSED) || f.asked != 1 {
		t.Errorf("%v after %d questions", err, f.asked)
	}
}
