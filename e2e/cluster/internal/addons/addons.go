// Package addons installs what the cluster runs in pods: its DNS and cert-manager.
package addons

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

//go:embed coredns.yaml
var coreDNS string

//go:embed certmanager.yaml
var certManager string

// readyTimeout bounds each wait for an addon.
const readyTimeout = "300s"

// Installer applies addons to the cluster of a layout.
type Installer struct {
	Layout layout.Layout
}

// WaitForNode waits until the node takes pods.
func (i Installer) WaitForNode(ctx context.Context) error {
	return i.kubectl(ctx, "", "wait", "node/"+layout.NodeName, "--for=create", "--for=condition=Ready", "--timeout="+readyTimeout)
}

// InstallCoreDNS applies the cluster's DNS.
func (i Installer) InstallCoreDNS(ctx context.Context) error {
	return i.apply(ctx, coreDNS)
}

// WaitForCoreDNS waits until CoreDNS answers.
func (i Installer) WaitForCoreDNS(ctx context.Context) error {
	return i.rolledOut(ctx, "kube-system", "coredns")
}

// InstallCertManager applies cert-manager with the CRDs in a folder.
func (i Installer) InstallCertManager(ctx context.Context, crds string) error {
	if err := i.kubectl(ctx, "", "apply", "--server-side", "--force-conflicts", "--filename", crds); err != nil {
		return err
	}
	return i.apply(ctx, certManager)
}

// WaitForCertManager waits until the webhook answers with a certificate that the
// API server trusts, which is the last thing to come up.
func (i Installer) WaitForCertManager(ctx context.Context) error {
	if err := i.rolledOut(ctx, "cert-manager", "cert-manager", "cert-manager-cainjector", "cert-manager-webhook"); err != nil {
		return err
	}
	return i.untilAnswered(ctx, probeIssuer)
}

func (i Installer) apply(ctx context.Context, manifests string) error {
	return i.kubectl(ctx, manifests, "apply", "--server-side", "--force-conflicts", "--filename=-")
}

func (i Installer) rolledOut(ctx context.Context, namespace string, deployments ...string) error {
	for _, deployment := range deployments {
		if err := i.kubectl(ctx, "", "rollout", "status", "--namespace", namespace, "deployment/"+deployment, "--timeout="+readyTimeout); err != nil {
			return err
		}
	}
	return nil
}

func (i Installer) kubectl(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, i.Layout.Bin("kubectl"), append([]string{"--kubeconfig", i.Layout.Kubeconfig()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
