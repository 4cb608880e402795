package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// CNIPlugins is where Debian keeps the CNI plugins.
const CNIPlugins = "/usr/lib/cni"

// needs maps a Debian package to the file that shows it is installed.
var needs = []struct{ pkg, program string }{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"containernetworking-plugins", CNIPlugins + "/bridge"},
	{"nftables", "nft"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"iproute2", "ip"},
	{"mount", "mount"},
	{"tcpdump", "tcpdump"}, // for tests that look at what passes a pod's interface
}

// InstallPackages installs the Debian packages that the node needs and misses.
func InstallPackages(ctx context.Context) error {
	var missing []string
	for _, need := range needs {
		if _, err := exec.LookPath(need.program); err != nil {
			missing = append(missing, need.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("packages %v are missing and this is not Debian: install them", missing)
	}
	if err := os.Setenv("DEBIAN_FRONTEND", "noninteractive"); err != nil {
		return fmt.Errorf("set DEBIAN_FRONTEND: %w", err)
	}
	if _, err := output(ctx, "apt-get", "update", "--quiet"); err != nil {
		return err
	}
	install := append([]string{"install", "--yes", "--quiet", "--no-install-recommends"}, missing...)
	_, err := output(ctx, "apt-get", install...)
	return err
}
