package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The Flagger that InstallFlagger installs, and its image as Flagger's own manifests name it.
const (
	flaggerModule    = "github.com/fluxcd/flagger"
	flaggerVersion   = "v1.36.1"
	flaggerImage     = "ghcr.io/fluxcd/flagger:1.36.1"
	flaggerNamespace = "flagger-system"
)

// InstallFlagger installs an unmodified Flagger for Gateway API by its own manifests: CRDs, rights and
// Deployment. It asks the Prometheus at metrics, a URL, and goes with the scene.
func (s *Scene) InstallFlagger(metrics string) {
	s.t.Helper()
	must(s.t, s.loadFlagger(s.t.Context()))
	objects, err := s.flaggerObjects(s.t.Context(), metrics)
	must(s.t, err)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: flaggerNamespace}}
	must(s.t, s.Create(s.t.Context(), namespace))
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("Flagger says:\n%s", s.flaggerLog(context.Background()))
		}
		for _, object := range objects {
			if err := client.IgnoreNotFound(s.Delete(context.Background(), object)); err != nil {
				s.t.Errorf("remove Flagger: %v", err)
			}
		}
		if err := s.Delete(context.Background(), namespace); err != nil {
			s.t.Errorf("remove Flagger: %v", err)
		}
	})
	for _, object := range objects {
		must(s.t, s.apply(s.t.Context(), flaggerNamespace, object))
	}
	must(s.t, s.waitCRDs(s.t.Context(), "flagger.app"))
	must(s.t, s.WaitDeployment(s.t.Context(), flaggerNamespace, "flagger", 3*time.Minute))
}

// flaggerLog is what Flagger has written, or why that is not known.
func (s *Stage) flaggerLog(ctx context.Context) string {
	var pods corev1.PodList
	if err := s.List(ctx, &pods, client.InNamespace(flaggerNamespace), client.MatchingLabels{"app": "flagger"}); err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, pod := range pods.Items {
		text, err := s.Clients.CoreV1().Pods(flaggerNamespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(100))}).DoRaw(ctx)
		fmt.Fprintln(&all, pod.Name, pod.Status.Phase, string(text), err)
	}
	return all.String()
}

// loadFlagger loads Flagger's image into the local cluster. The first time, it is built.
func (s *Stage) loadFlagger(ctx context.Context) error {
	if !s.Local {
		return nil
	}
	binary, err := cached("flagger-" + flaggerVersion)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		if err := s.buildFlagger(ctx, binary); err != nil {
			return err
		}
	}
	return s.LoadBinary(ctx, flaggerImage, binary+"=/flagger")
}

// cached is the path of a tool in the cache that the Makefile and the local cluster use.
func cached(name string) (string, error) {
	cache := os.Getenv("WEFT_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder (set WEFT_CACHE): %w", err)
		}
		cache = filepath.Join(base, "weft")
	}
	return filepath.Join(cache, "bin", name), nil
}

// buildFlagger takes some minutes.
func (s *Stage) buildFlagger(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp(filepath.Dir(binary), ".flagger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", flaggerModule+"/cmd/flagger@"+flaggerVersion)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
	if _, err := output(build); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "flagger"), binary)
}

// flaggerObjects are those of Flagger's kustomize/base/flagger, with the arguments that its
// kustomize/gatewayapi gives, but for the address of Prometheus.
func (s *Stage) flaggerObjects(ctx context.Context, metrics string) ([]*unstructured.Unstructured, error) {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", flaggerModule+"@"+flaggerVersion)
	download.Dir = s.Root
	out, err := output(download)
	if err != nil {
		return nil, err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return nil, fmt.Errorf("find the module %s: %w", flaggerModule, err)
	}
	text, err := s.Kubectl(ctx, "kustomize", filepath.Join(module.Dir, "kustomize", "base", "flagger"))
	if err != nil {
		return nil, err
	}
	objects, err := Decode(text)
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			err = errors.Join(err, configureFlagger(object, metrics))
		}
	}
	return objects, err
}

// configureFlagger gives the Deployment its arguments, and probes for an image that has no wget.
func configureFlagger(deployment *unstructured.Unstructured, metrics string) error {
	containers, found, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil || !found || len(containers) != 1 {
		return errors.Join(fmt.Errorf("the Deployment of Flagger has %d containers, not one", len(containers)), err)
	}
	probe := map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": "http"}, "periodSeconds": int64(1)}
	container := containers[0].(map[string]any)
	container["args"] = []any{"-log-level=info", "-include-label-prefix=app.kubernetes.io", "-mesh-provider=gatewayapi:v1", "-metrics-server=" + metrics}
	container["livenessProbe"], container["readinessProbe"] = probe, probe
	return unstructured.SetNestedSlice(deployment.Object, containers, "spec", "template", "spec", "containers")
}
