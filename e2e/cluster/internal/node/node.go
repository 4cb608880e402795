// Package node runs a single-node Kubernetes cluster as processes of this machine.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/host"
	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/process"
)

// LoadBalancer is the name of the process that allocates Services' addresses.
const LoadBalancer = "loadbalancer"

// Node is the cluster on this machine.
type Node struct {
	Layout    layout.Layout
	Processes process.Table
}

// New returns the node whose state is in the layout's folder.
func New(l layout.Layout) Node {
	return Node{Layout: l, Processes: process.Table{Owner: l.State, Logs: l.Path("logs")}}
}

// Names lists the node's processes in the order in which they start.
var Names = []string{
	"etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", LoadBalancer,
}

// Usable reports whether the state folder holds a cluster that was made completely
// and since the machine started. Anything else must be deleted first.
func (n Node) Usable() (bool, error) {
	boot, err := bootID()
	if err != nil {
		return false, err
	}
	recorded, err := os.ReadFile(n.Layout.Path("boot"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the state: %w", err)
	}
	return string(recorded) == boot, nil
}

// Prepare makes the keys, tokens and kubeconfigs of a new cluster.
func (n Node) Prepare() error {
	if err := writePKI(n.Layout); err != nil {
		return err
	}
	if err := writeAccounts(n.Layout); err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	return n.Layout.Write([]byte(boot), "boot")
}

// SetHost changes the machine's network settings.
func (n Node) SetHost(ctx context.Context) error {
	if err := host.SetSysctls(n.sysctlRecord(), layout.WriteFile); err != nil {
		return err
	}
	return host.SetLinks(ctx)
}

func (n Node) sysctlRecord() string { return n.Layout.Path("sysctls.json") }

// StartStorage starts etcd and containerd.
func (n Node) StartStorage(ctx context.Context) error {
	if err := errors.Join(n.writeContainerdConfig(), n.writeKubeletConfig(), n.writeAuditPolicy()); err != nil {
		return err
	}
	if err := errors.Join(n.Processes.Start(n.etcd()), n.Processes.Start(n.containerd())); err != nil {
		return err
	}
	if err := n.wait(ctx, "etcd", probeHTTP(http.DefaultClient, etcdClient+"/health")); err != nil {
		return err
	}
	return n.wait(ctx, "containerd", func(ctx context.Context) error {
		_, err := n.ctr(ctx, nil, "version")
		return err
	})
}

// StartControlPlane starts the API server and what works through it; program is
// the command that runs the load balancer.
func (n Node) StartControlPlane(ctx context.Context, program string) error {
	if err := n.startAPIServer(ctx); err != nil {
		return err
	}
	balancer := process.Spec{Name: LoadBalancer, Path: program, Args: []string{"run-" + LoadBalancer}}
	for _, spec := range []process.Spec{n.controllerManager(), n.scheduler(), n.kubelet(), n.proxy(), balancer} {
		if err := n.Processes.Start(spec); err != nil {
			return err
		}
	}
	return nil
}

// Delete ends every process of the cluster and undoes every change of the
// machine, whatever state a killed run left. It goes on after a failure so that
// as little as possible remains.
func (n Node) Delete(ctx context.Context) error {
	err := errors.Join(
		n.Processes.Kill(ctx), // the node's agents first, or they start pods anew
		host.EndPods(ctx),
		removeShimSockets(),
		host.Unmount(n.Layout.State),
		host.DeleteRules(ctx),
		host.DeleteLinks(ctx),
		host.RestoreSysctls(n.sysctlRecord()),
		n.removeLogLinks(),
		removeCNIResults(),
		removeSharedFolders(),
	)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(n.Layout.State); err != nil {
		return fmt.Errorf("delete the state folder: %w", err)
	}
	return nil
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the machine's boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
