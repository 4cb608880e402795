package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
)

// statusStage is an API server, and Statuses that write to it what is put in an outbox.
type statusStage struct {
	*testing.T
	client.Client // not cached
	statuses      *Statuses
	patches       *atomic.Int64
}

func newStatusStage(t *testing.T) *statusStage {
	config := apiServer(t)
	install(t, config, "sigs.k8s.io/gateway-api", "config/crd/standard")
	s := &statusStage{T: t, Client: newClient(t, config), patches: new(atomic.Int64)}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 200, 400 // as the operator's
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: s.Scheme(), Cache: CacheOptions(""), Metrics: server.Options{BindAddress: "0"}, NewClient: s.counting,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.statuses = &Statuses{Client: mgr.GetClient(), Cache: mgr.GetCache(), Outbox: cluster.NewOutbox[mesh.Status]()}
	if err := mgr.Add(s.statuses); err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	return s
}

// counting is a real client that counts the statuses it writes.
func (s *statusStage) counting(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, o ...client.SubResourcePatchOption) error {
			s.patches.Add(1)
			return c.SubResource(sub).Patch(ctx, obj, patch, o...)
		},
	}), nil
}

func (s *statusStage) route(name string) *gwv1.HTTPRoute {
	s.Helper()
	r := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	r.Spec.ParentRefs = []gwv1.ParentReference{{Name: "web"}}
	create(s.T, s.Client, r)
	return r
}

// want asks for one parent's condition of a route.
func (s *statusStage) want(name, reason string) {
	accepted := condition("Accepted", "True", reason, 1, metav1.Time{})
	s.statuses.Outbox.Put(name, mesh.Status{Kind: "HTTPRoute", Key: "default/" + name, Value: gwv1.HTTPRouteStatus{RouteStatus: gwv1.RouteStatus{
		Parents: []gwv1.RouteParentStatus{routeParent("web", mesh.ControllerName, accepted)},
	}}})
}

// parents are what the API server holds of a route.
func (s *statusStage) parents(name string) []gwv1.RouteParentStatus {
	var r gwv1.HTTPRoute
	if err := s.Get(s.Context(), client.ObjectKey{Namespace: "default", Name: name}, &r); err != nil {
		s.Error(err)
	}
	return r.Status.Parents
}

func (s *statusStage) reason(name string) string {
	for _, p := range s.parents(name) {
		if p.ControllerName == mesh.ControllerName {
			return p.Conditions[0].Reason
		}
	}
	return ""
}

func (s *statusStage) awaitReason(name, reason string) {
	s.Helper()
	eventually(s.T, "status of "+name, func(context.Context) bool { return s.reason(name) == reason },
		func() string { return fmt.Sprintf("%+v; want %s", s.parents(name), reason) })
}

// addParent writes the entry of another controller, as that would.
func (s *statusStage) addParent(name string, p gwv1.RouteParentStatus) {
	s.edit(name, func(r *gwv1.HTTPRoute) { r.Status.Parents = append(r.Status.Parents, p) })
}

// edit writes a status as somebody else would.
func (s *statusStage) edit(name string, edit func(*gwv1.HTTPRoute)) {
	patient := wait.Backoff{Steps: 200, Duration: 5 * time.Millisecond, Jitter: 1}
	err := retry.RetryOnConflict(patient, func() error {
		var r gwv1.HTTPRoute
		if err := s.Get(s.Context(), client.ObjectKey{Namespace: "default", Name: name}, &r); err != nil {
			return err
		}
		edit(&r)
		return s.Status().Update(s.Context(), &r)
	})
	if err != nil {
		s.Errorf("write as another controller: %v", err)
	}
}

func TestStatuses(t *testing.T) {
	s := newStatusStage(t)
	for _, story := range []struct {
		name string
		run  func(*statusStage)
	}{
		{"others' entries stay", othersStay},
		{"what is so is not written", unchangedIsNotWritten},
		{"what somebody else overwrites is said again", saidAgain},
		{"conflicting writers lose nothing", conflicts},
		{"a status that is not wanted is taken back", takenBack},
		{"a GRPCRoute has one too", grpcStatus},
		{"a BackendTLSPolicy has ancestors", policyStatuses},
		{"many at once", manyStatuses},
	} {
		t.Run(story.name, func(t *testing.T) {
			s := *s
			s.T = t
			story.run(&s)
		})
	}
}

func grpcStatus(s *statusStage) {
	r := &gwv1.GRPCRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "calls"}}
	r.Spec.ParentRefs = []gwv1.ParentReference{{Name: "web"}}
	create(s.T, s.Client, r)
	accepted := condition("Accepted", "True", "Accepted", 1, metav1.Time{})
	s.statuses.Outbox.Put("GRPCRoute calls", mesh.Status{Kind: mesh.GRPCRoute, Key: "default/calls", Value: gwv1.GRPCRouteStatus{RouteStatus: gwv1.RouteStatus{
		Parents: []gwv1.RouteParentStatus{routeParent("web", mesh.ControllerName, accepted)},
	}}})
	eventually(s.T, "status of the GRPCRoute", func(ctx context.Context) bool {
		return s.Get(ctx, client.ObjectKeyFromObject(r), r) == nil && len(r.Status.Parents) == 1 && r.Status.Parents[0].Conditions[0].Reason == "Accepted"
	}, func() string { return fmt.Sprintf("%+v", r.Status.Parents) })
}

func policyStatuses(s *statusStage) {
	p := &gwv1.BackendTLSPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pay"}}
	p.Spec.TargetRefs = []gwv1.LocalPolicyTargetReferenceWithSectionName{{}}
	p.Spec.TargetRefs[0].Kind, p.Spec.TargetRefs[0].Name = "Service", "pay"
	p.Spec.Validation = gwv1.BackendTLSPolicyValidation{Hostname: "pay.internal", CACertificateRefs: []gwv1.LocalObjectReference{{Kind: "ConfigMap", Name: "ca"}}}
	create(s.T, s.Client, p)
	ancestor := func(controller gwv1.GatewayController, at metav1.Time) gwv1.PolicyAncestorStatus {
		return gwv1.PolicyAncestorStatus{
			AncestorRef: gwv1.ParentReference{Name: "web"}, ControllerName: controller,
			Conditions: []metav1.Condition{condition("Accepted", "True", "Accepted", 1, at)},
		}
	}
	put := func(value any) {
		s.statuses.Outbox.Put("BackendTLSPolicy pay", mesh.Status{Kind: "BackendTLSPolicy", Key: "default/pay", Value: value})
	}
	await := func(controllers ...gwv1.GatewayController) {
		s.Helper()
		eventually(s.T, "the ancestors", func(ctx context.Context) bool {
			err := s.Get(ctx, client.ObjectKeyFromObject(p), p)
			return err == nil && slices.EqualFunc(p.Status.Ancestors, controllers, func(a gwv1.PolicyAncestorStatus, c gwv1.GatewayController) bool { return a.ControllerName == c })
		}, func() string { return fmt.Sprintf("%+v", p.Status) })
	}
	ours := gwv1.PolicyStatus{Ancestors: []gwv1.PolicyAncestorStatus{ancestor(mesh.ControllerName, metav1.Time{})}}
	put(ours)
	await(mesh.ControllerName)
	put(nil)
	await()
	p.Status.Ancestors = append(p.Status.Ancestors, ancestor("example.com/other", earlier))
	if err := s.Status().Update(s.Context(), p); err != nil {
		s.Fatal(err)
	}
	put(ours)
	await("example.com/other", mesh.ControllerName)
}

func othersStay(s *statusStage) {
	s.route("shared")
	theirs := routeParent("web", "example.com/other", condition("Accepted", "False", "NotAllowed", 1, metav1.NewTime(earlier.Local())))
	s.addParent("shared", theirs)
	s.want("shared", "Accepted")
	s.awaitReason("shared", "Accepted")
	got := s.parents("shared")
	if len(got) != 2 || got[0].ControllerName != theirs.ControllerName || !equality.Semantic.DeepEqual(got[0].Conditions, theirs.Conditions) {
		s.Errorf("theirs is not as it was: %+v", got)
	}
	since := got[1].Conditions[0].LastTransitionTime
	s.want("shared", "StillAccepted")
	s.awaitReason("shared", "StillAccepted")
	if now := s.parents("shared")[1].Conditions[0].LastTransitionTime; !now.Equal(&since) {
		s.Errorf("the status did not change, its time did: from %v to %v", since, now)
	}
}

// unchangedIsNotWritten asks the writer itself, so that there is an end to wait for.
func unchangedIsNotWritten(s *statusStage) {
	s.route("quiet")
	s.want("quiet", "Accepted")
	s.awaitReason("quiet", "Accepted")
	at := subject{"HTTPRoute", "default/quiet"}
	var live gwv1.HTTPRoute
	eventually(s.T, "the cache", func(ctx context.Context) bool {
		err := s.statuses.Client.Get(ctx, at.name(), &live)
		return err == nil && len(live.Status.Parents) == 1
	}, func() string { return fmt.Sprint(live.Status) })
	wanted := mesh.Status{Kind: at.kind, Key: at.key, Value: live.Status}
	before := s.patches.Load()
	for range 3 {
		if _, err := s.statuses.write(s.Context(), at, wanted); err != nil {
			s.Error(err)
		}
	}
	if n := s.patches.Load() - before; n != 0 {
		s.Errorf("%d writes of what was so already", n)
	}
}

func saidAgain(s *statusStage) {
	s.route("contested")
	s.want("contested", "Accepted")
	s.awaitReason("contested", "Accepted")
	s.edit("contested", func(r *gwv1.HTTPRoute) { r.Status.Parents = []gwv1.RouteParentStatus{} })
	s.awaitReason("contested", "Accepted")
}

// conflicts has others write between our reads and writes.
func conflicts(s *statusStage) {
	s.route("busy")
	const others, each = 4, 5
	var writers sync.WaitGroup
	for o := range others {
		writers.Go(func() {
			for i := range each {
				name := fmt.Sprintf("theirs-%d-%d", o, i)
				s.addParent("busy", routeParent(name, "example.com/other", condition("Accepted", "True", "Accepted", 1, earlier)))
			}
		})
	}
	for i := range 50 {
		s.want("busy", "Reason"+strconv.Itoa(i))
	}
	writers.Wait()
	s.want("busy", "Last")
	s.awaitReason("busy", "Last")
	if got := s.parents("busy"); len(got) != others*each+1 {
		s.Errorf("%d parents; want %d of others and ours", len(got), others*each)
	}
}

func takenBack(s *statusStage) {
	s.route("left")
	s.addParent("left", routeParent("web", "example.com/other", condition("Accepted", "True", "Accepted", 1, earlier)))
	s.want("left", "Accepted")
	s.awaitReason("left", "Accepted")
	s.statuses.Outbox.Put("left", mesh.Status{Kind: "HTTPRoute", Key: "default/left"})
	s.awaitReason("left", "")
	if got := s.parents("left"); len(got) != 1 || got[0].ControllerName != "example.com/other" {
		s.Errorf("left are %+v", got)
	}
}

func manyStatuses(s *statusStage) {
	const routes = 600
	for i := range routes {
		s.route("many-" + strconv.Itoa(i))
	}
	start, before := time.Now(), s.patches.Load()
	for i := range routes {
		s.want("many-"+strconv.Itoa(i), "Accepted")
	}
	missing := map[string]bool{}
	eventually(s.T, "the statuses", func(ctx context.Context) bool {
		clear(missing)
		var all gwv1.HTTPRouteList
		if err := s.List(ctx, &all, client.InNamespace(corev1.NamespaceDefault)); err != nil {
			return false
		}
		for _, r := range all.Items {
			if len(r.Status.Parents) == 0 && r.Name != "left" {
				missing[r.Name] = true
			}
		}
		return len(missing) == 0
	}, func() string { return fmt.Sprintf("%d routes have none", len(missing)) })
	n := s.patches.Load() - before
	s.Logf("%d statuses in %s, by %d writes", routes, time.Since(start).Round(time.Millisecond), n)
	if n != routes {
		s.Errorf("%d writes of %d statuses", n, routes)
	}
}
