package stage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

// Names of what dist/install.yaml makes.
const (
	System       = "weft-system"
	Operator     = "weft-operator"
	GatewayClass = "weft"
)

// ShopImage is the image of e2e/apps/shop.
const ShopImage = "ghcr.io/weft-mesh/shop:v0.1.0"

// Prepare makes the cluster ready for tests: Gateway API, Weft and the shop's image.
func (s *Stage) Prepare(ctx context.Context) error {
	if err := TakeTurn(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.InstallGatewayAPI, s.InstallWeft, s.LoadShop} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// The channels of Gateway API. The stage installs the experimental one, which has all that the standard
// one has, unless the environment variable WEFT_CHANNEL says "standard".
const (
	channelVariable = "WEFT_CHANNEL"
	Experimental    = "experimental"
	Standard        = "standard"
)

// InstallGatewayAPI applies a channel of the Gateway API version in go.mod. A cluster that already has
// this version keeps its channel, which must be the one that WEFT_CHANNEL names, if that is set.
func (s *Stage) InstallGatewayAPI(ctx context.Context) error {
	has, err := s.Channel(ctx)
	if err != nil {
		return err
	}
	if want := os.Getenv(channelVariable); has != "" && want != "" && has != want {
		return fmt.Errorf("the cluster has the %s channel of Gateway API, %s asks for %q: start a fresh one with `make cluster-down cluster-up`", has, channelVariable, want)
	}
	if has != "" {
		return nil
	}
	pattern, err := s.GatewayAPIFiles(ctx)
	if err != nil {
		return err
	}
	if err := s.ApplyFiles(ctx, pattern); err != nil {
		return err
	}
	return errors.Join(s.waitCRDs(ctx, gatewayAPI), s.waitCRDs(ctx, gatewayAPIX))
}

// The groups of Gateway API, the second of which is that of experimental kinds.
const (
	gatewayAPI  = "gateway.networking.k8s.io"
	gatewayAPIX = "gateway.networking.x-k8s.io"
)

// Channel is the channel of the cluster's CRDs of Gateway API; empty where they are missing or of another
// version than the one in go.mod.
func (s *Stage) Channel(ctx context.Context) (string, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	err := s.Get(ctx, client.ObjectKey{Name: "httproutes." + gatewayAPI}, &crd)
	if err != nil || crd.Annotations[consts.BundleVersionAnnotation] != consts.BundleVersion {
		return "", client.IgnoreNotFound(err)
	}
	return crd.Annotations[consts.ChannelAnnotation], nil
}

// GatewayAPIFiles is a pattern that matches the manifests of the channel to be installed.
func (s *Stage) GatewayAPIFiles(ctx context.Context) (string, error) {
	channel := cmp.Or(os.Getenv(channelVariable), Experimental)
	if channel != Experimental && channel != Standard {
		return "", fmt.Errorf("%s is %q: write %s or %s", channelVariable, channel, Experimental, Standard)
	}
	dir, err := s.module(ctx, "sigs.k8s.io/gateway-api")
	return filepath.Join(dir, "config", "crd", channel, "gateway*.yaml"), err
}

// CertManagerFiles is a pattern that matches cert-manager's CRDs.
func (s *Stage) CertManagerFiles(ctx context.Context) (string, error) {
	dir, err := s.module(ctx, "github.com/cert-manager/cert-manager")
	return filepath.Join(dir, "deploy", "crds", "*.yaml"), err
}

// module is the folder of a Go module that go.mod requires.
func (s *Stage) module(ctx context.Context, path string) (string, error) {
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path)
	command.Dir = s.Root
	out, err := output(command)
	return strings.TrimSpace(out), err
}

// waitCRDs waits until the API server serves every kind of a group.
func (s *Stage) waitCRDs(ctx context.Context, group string) error {
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var all apiextensionsv1.CustomResourceDefinitionList
		if err := s.List(ctx, &all); err != nil {
			return false, err
		}
		for _, crd := range all.Items {
			if crd.Spec.Group == group && !established(crd) {
				return false, nil
			}
		}
		return true, nil
	})
}

func established(crd apiextensionsv1.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.Established {
			return c.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

// InstallWeft installs Weft and waits for the operator.
func (s *Stage) InstallWeft(ctx context.Context) error {
	if err := s.ApplyWeft(ctx); err != nil {
		return err
	}
	return s.WaitDeployment(ctx, System, Operator, 3*time.Minute)
}

// ApplyWeft loads the image that `make image` made and applies dist/install.yaml. An operator that
// runs an older image of the same name is rolled.
func (s *Stage) ApplyWeft(ctx context.Context) error {
	digest, err := s.loadWeft(ctx)
	if err != nil {
		return err
	}
	if err := s.ApplyFiles(ctx, filepath.Join(s.Root, "dist", "install.yaml")); err != nil {
		return err
	}
	if digest != "" {
		patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"e2e.weft.dev/image":%q}}}}}`, digest)
		operator := &appsv1.Deployment{}
		operator.Namespace, operator.Name = System, Operator
		if err := s.Patch(ctx, operator, client.RawPatch(types.MergePatchType, []byte(patch)), owner); err != nil {
			return fmt.Errorf("roll the operator: %w", err)
		}
	}
	return nil
}

// loadWeft loads Weft's image into the local cluster and returns the digest of its archive.
func (s *Stage) loadWeft(ctx context.Context) (string, error) {
	if !s.Local {
		return "", nil
	}
	archive := filepath.Join(s.Root, "bin", "weft-image.tar")
	content, err := os.ReadFile(archive)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s is missing: run `make image`", archive)
	}
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	_, err = s.Cluster(ctx, "load", archive)
	return hex.EncodeToString(sum[:8]), err
}

// LoadShop builds the shop and loads its image into the local cluster. Another cluster must be able
// to pull ShopImage.
func (s *Stage) LoadShop(ctx context.Context) error {
	return s.LoadProgram(ctx, "./e2e/apps/shop", ShopImage)
}

// LoadProgram builds a Go program of this module's build list as a static binary and loads it into
// the local cluster as an image under the names given.
func (s *Stage) LoadProgram(ctx context.Context, program string, names ...string) error {
	if !s.Local {
		return nil
	}
	dir, err := os.MkdirTemp("", "weft-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := s.BuildProgram(ctx, program, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.LoadBinary(ctx, name, binary); err != nil {
			return err
		}
	}
	return nil
}

// BuildProgram builds a Go program of this module's build list, or one that is a module of its own, as a static
// binary in a folder, and returns its path.
func (s *Stage) BuildProgram(ctx context.Context, program, dir string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(program))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, program)
	build.Dir, build.Env = s.Root, append(os.Environ(), "CGO_ENABLED=0")
	if own := filepath.Join(s.Root, program); isModule(own) {
		build.Dir, build.Args[len(build.Args)-1] = own, "."
	}
	_, err := output(build)
	return binary, err
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// LoadBinary loads a static binary into the local cluster as an image that holds nothing else. After
// the binary's path may follow = and its path in the image. Options are those of the cluster tool's
// image command.
func (s *Stage) LoadBinary(ctx context.Context, name, binary string, options ...string) error {
	dir, err := os.MkdirTemp("", "weft-archive-") // of its own: stories that play at once may load the same program
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "image.tar")
	command := append([]string{"image", "--name", name, "--binary", binary, "-o", archive}, options...)
	if _, err := s.Cluster(ctx, command...); err != nil {
		return err
	}
	_, err = s.Cluster(ctx, "load", archive)
	return err
}
