package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/e2e/cluster/internal/addons"
	"github.com/weft-mesh/weft/e2e/cluster/internal/build"
	"github.com/weft-mesh/weft/e2e/cluster/internal/host"
	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/node"
)

// makeUp is one run of `up`.
type makeUp struct {
	steps
	layout    layout.Layout
	node      node.Node
	builder   build.Builder
	installer addons.Installer
	// certManager is false when the cluster is to have none.
	certManager bool
}

func up(ctx context.Context, l layout.Layout, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	without := flags.String("without", "", "an addon to leave out: cert-manager")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *without != "" && *without != "cert-manager" {
		return fmt.Errorf("--without %q: the only addon that can be left out is cert-manager", *without)
	}
	release, err := takeMachine(ctx, l)
	if err != nil {
		return err
	}
	defer release()
	source, err := build.FindSource()
	if err != nil {
		return err
	}
	run := makeUp{
		steps: steps{began: time.Now()}, layout: l, node: node.New(l),
		builder: build.Builder{Layout: l, Source: source}, installer: addons.Installer{Layout: l},
		certManager: *without == "",
	}
	if err := run.all(ctx); err != nil {
		return err
	}
	fmt.Println(l.Kubeconfig())
	return nil
}

// machineLock is one for the machine, as two clusters would share its links.
const machineLock = "/run/weft-cluster.lock"

// takeMachine checks that this run may change the machine, and keeps other runs
// out until release.
func takeMachine(ctx context.Context, l layout.Layout) (release func(), err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the cluster needs root: it runs containers and sets up links")
	}
	processes := node.New(l).Processes
	if release, err = layout.Lock(ctx, machineLock); err != nil {
		return nil, err
	}
	if err := errors.Join(processes.CheckAlone(), processes.Adopt()); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (m makeUp) all(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"packages", host.InstallPackages},
		{"binaries", m.build},
		{"state", m.prepare},
		{"links and sysctls", m.node.SetHost},
		{"etcd and containerd", m.node.StartStorage},
		{"control plane and images", m.startAndLoad},
		{"node", m.installer.WaitForNode},
		{"coredns", m.installer.WaitForCoreDNS},
	} {
		if err := m.do(ctx, step.name, step.run); err != nil {
			return err
		}
	}
	if !m.certManager {
		return nil
	}
	return m.do(ctx, "cert-manager", m.installer.WaitForCertManager)
}

func (m makeUp) build(ctx context.Context) error {
	for _, artifact := range m.artifacts() {
		if _, err := m.builder.Build(ctx, artifact); err != nil {
			return err
		}
	}
	if _, err := m.builder.Envoy(ctx); err != nil {
		return err
	}
	return installSelf(m.layout)
}

func (m makeUp) artifacts() []build.Artifact {
	artifacts := []build.Artifact{build.Kubernetes, build.Pause, build.CoreDNS}
	if m.certManager {
		artifacts = append(artifacts, build.Controller, build.CAInjector, build.Webhook)
	}
	return artifacts
}

// installSelf copies this program to where the background load balancer runs from.
func installSelf(l layout.Layout) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open this program: %w", err)
	}
	defer self.Close()
	data, err := io.ReadAll(self)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	path := l.Bin("weft-cluster")
	if err := layout.WriteFile(path, data); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// prepare deletes what cannot be completed: a half-made cluster, or one from
// before the machine started.
func (m makeUp) prepare(ctx context.Context) error {
	usable, err := m.node.Usable()
	if err != nil || usable {
		return err
	}
	if err := m.node.Delete(ctx); err != nil {
		return fmt.Errorf("delete what a former run left: %w", err)
	}
	return m.node.Prepare()
}

// startAndLoad loads the images while the control plane starts.
func (m makeUp) startAndLoad(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.loadImages(ctx) })
	group.Go(func() error {
		if err := m.node.StartControlPlane(ctx, m.layout.Bin("weft-cluster")); err != nil {
			return err
		}
		if err := m.installer.InstallCoreDNS(ctx); err != nil || !m.certManager {
			return err
		}
		crds, err := m.builder.CertManagerCRDs(ctx)
		if err != nil {
			return err
		}
		return m.installer.InstallCertManager(ctx, crds)
	})
	return group.Wait()
}

func (m makeUp) loadImages(ctx context.Context) error {
	for _, artifact := range m.artifacts() {
		if artifact.Image == "" {
			continue
		}
		archive, stamp, err := m.builder.Image(artifact)
		if err != nil {
			return err
		}
		if err := m.node.ImportImage(ctx, archive, stamp); err != nil {
			return err
		}
	}
	archive, stamp, err := m.builder.EnvoyImage(ctx)
	if err != nil {
		return err
	}
	return m.node.ImportImage(ctx, archive, stamp)
}
