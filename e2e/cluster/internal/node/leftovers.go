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

// removeShimSockets deletes the sockets that no program listens on any more. The
// folder is shared with a containerd that the machine may run itself.
func removeShimSockets() error {
	sockets, err := filepath.Glob(filepath.Join(shimSockets, "*"))
	if err != nil {
		return fmt.Errorf("list %s: %w", shimSockets, err)
	}
	open, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return fmt.Errorf("list open sockets: %w", err)
	}
	listening := map[string]bool{}
	for field := range strings.FieldsSeq(string(open)) {
		listening[field] = true
	}
	var errs []error
	for _, socket := range sockets {
		if !listening[socket] {
			errs = append(errs, remove(socket))
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
