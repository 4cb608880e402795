package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Folders that the kubelet, containerd and the CNI plugins use wherever their
// state is kept.
const (
	logLinks      = "/var/log/containers"
	devicePlugins = "/var/lib/kubelet/device-plugins"
	cniResults    = "/var/lib/cni/results"
	shimSockets   = "/run/containerd/s"
)

// removeLogLinks deletes the links to this node's logs.
func (n Node) removeLogLinks() error {
	links, err := filepath.Glob(logLinks + "/*.log")
	if err != nil {
		return fmt.Errorf("list %s: %w", logLinks, err)
	}
	var errs []error
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, n.Layout.State+"/") {
			errs = append(errs, remove(link))
		}
	}
	return errors.Join(errs...)
}

// removeShimSockets deletes the sockets of this node's containers.
func (n Node) removeShimSockets() error {
	records, err := filepath.Glob(n.Layout.Path("containerd", "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return fmt.Errorf("list the containers' sockets: %w", err)
	}
	var errs []error
	for _, record := range records {
		if address, err := os.ReadFile(record); err == nil {
			errs = append(errs, remove(strings.TrimPrefix(string(address), "unix://")))
		}
	}
	return errors.Join(errs...)
}

// removeCNIResults deletes what the CNI library recorded about this node's pods:
// for each a result of our network and one of the loopback.
func removeCNIResults() error {
	results, err := filepath.Glob(filepath.Join(cniResults, cniNetwork+"-*-eth0"))
	if err != nil {
		return fmt.Errorf("list %s: %w", cniResults, err)
	}
	var errs []error
	for _, result := range results {
		pod := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(result), cniNetwork+"-"), "-eth0")
		errs = append(errs, remove(filepath.Join(cniResults, "cni-loopback-"+pod+"-lo")), remove(result))
	}
	return errors.Join(errs...)
}

// removeSharedFolders deletes the folders that are empty now.
func removeSharedFolders() error {
	var errs []error
	for _, path := range []string{
		filepath.Join(devicePlugins, "kubelet.sock"), filepath.Join(devicePlugins, "kubelet_internal_checkpoint"),
		devicePlugins, filepath.Dir(devicePlugins),
		cniResults, filepath.Dir(cniResults), shimSockets, filepath.Dir(shimSockets), logLinks,
	} {
		if err := remove(path); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete what the node left: %w", err)
	}
	return nil
}
