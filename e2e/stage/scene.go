package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Scene is one test on the stage: a namespace of its own, removed at the end unless the test failed
// and WEFT_KEEP=1.
type Scene struct {
	*Stage
	Namespace string
	t         testing.TB
}

// ready is the stage of this test process, prepared once.
var ready = sync.OnceValues(func() (*Stage, error) {
	ctx := context.Background()
	s, err := Open(ctx)
	if err != nil {
		return nil, err
	}
	return s, s.Prepare(ctx)
})

// New opens a scene on the prepared stage.
func New(t testing.TB, name string) *Scene {
	t.Helper()
	s, err := ready()
	must(t, err)
	return s.Scene(t, name)
}

// Scene opens a scene on this stage.
func (s *Stage) Scene(t testing.TB, name string) *Scene {
	t.Helper()
	scene := &Scene{Stage: s, t: t}
	scene.Namespace = scene.NewNamespace(name, nil)
	return scene
}

// NewNamespace makes a namespace with a fresh name that lives as long as the scene.
func (s *Scene) NewNamespace(name string, labels map[string]string) string {
	s.t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: labels}}
	must(s.t, s.Create(s.t.Context(), namespace))
	s.t.Cleanup(func() {
		if s.t.Failed() && os.Getenv("WEFT_KEEP") == "1" {
			s.t.Logf("namespace %s is kept", namespace.Name)
			return
		}
		if err := s.Delete(context.Background(), namespace); err != nil {
			s.t.Errorf("delete namespace %s: %v", namespace.Name, err)
		}
	})
	return namespace.Name
}

// Apply applies a YAML text in the scene's namespace; "$NAMESPACE" in it stands for that name.
func (s *Scene) Apply(text string) {
	s.t.Helper()
	must(s.t, s.Stage.Apply(s.t.Context(), s.Namespace, s.fill(text)))
}

// Remove deletes the objects of a YAML text.
func (s *Scene) Remove(text string) {
	s.t.Helper()
	must(s.t, s.Stage.Remove(s.t.Context(), s.Namespace, s.fill(text)))
}

func (s *Scene) fill(text string) string {
	return strings.NewReplacer("$NAMESPACE", s.Namespace, "$SHOP_IMAGE", ShopImage,
		"$ECHO_IMAGE", EchoImage, "$CALLER_IMAGE", CallerImage, "$PROVIDER_IMAGE", ProviderImage).Replace(text)
}

// Key names an object of the scene.
func (s *Scene) Key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.Namespace, Name: name}
}

// Until asks every 100 ms until ask returns nil and fails the test with what ask said last when
// that takes longer than limit. It returns the time it took.
func (s *Scene) Until(limit time.Duration, what string, ask func(ctx context.Context) error) time.Duration {
	s.t.Helper()
	start := time.Now()
	if err := Until(s.t.Context(), limit, ask); err != nil {
		s.t.Fatalf("%s: not within %s: %v", what, limit, err)
	}
	return time.Since(start)
}

// Until asks every 100 ms until ask returns nil; after limit it returns what ask said last.
func Until(ctx context.Context, limit time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(last, ctx.Err())
		case <-tick.C:
		}
	}
}

// Rollout waits until each of the scene's Deployments named has rolled out.
func (s *Scene) Rollout(names ...string) {
	s.t.Helper()
	for _, name := range names {
		must(s.t, s.WaitDeployment(s.t.Context(), s.Namespace, name, 3*time.Minute))
	}
}

// Step prints a line of the story as it happens.
func (s *Scene) Step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s: %s\n", time.Now().UTC().Format("15:04:05"), s.t.Name(), fmt.Sprintf(format, args...))
}
