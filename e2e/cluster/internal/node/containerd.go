package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/host"
	"github.com/weft-mesh/weft/e2e/cluster/internal/image"
	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/process"
)

// containerdConfig keeps everything under the state folder, away from a
// containerd that the machine runs itself. restrict_oom_score_adj and
// disable_apparmor are for machines without CAP_SYS_RESOURCE, on which runc
// otherwise fails.
const containerdConfig = `version = 2
root = "%[1]s/containerd/root"
state = "%[1]s/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
address = "%[2]s"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "%[3]s"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "%[4]s"
conf_dir = "%[1]s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "%[1]s/containerd/runc"
`

const cniNetwork = "weft"

// cniConfig bridges pods of both families. Cluster egress is not masqueraded.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "%[5]s",
  "plugins": [
    {
      "type": "bridge", "bridge": "%[1]s", "isGateway": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "%[2]s/cni-addresses",
        "ranges": [[{"subnet": "%[3]s"}], [{"subnet": "%[4]s"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

func (n Node) socket() string { return n.Layout.Path("containerd", "socket") }

func (n Node) containerd() process.Spec {
	return process.Spec{Name: "containerd", Path: "containerd", Args: []string{"--config", n.Layout.Path("containerd.toml")}}
}

func (n Node) writeContainerdConfig() error {
	text := fmt.Sprintf(containerdConfig, n.Layout.State, n.socket(), layout.PauseImage, host.CNIPlugins)
	if err := n.Layout.Write([]byte(text), "containerd.toml"); err != nil {
		return err
	}
	text = fmt.Sprintf(cniConfig, layout.PodBridge, n.Layout.State, layout.PodCIDRv4, layout.PodCIDRv6, cniNetwork)
	return n.Layout.Write([]byte(text), "cni", "10-weft.conflist")
}

// Import loads an image archive into the node.
func (n Node) Import(ctx context.Context, archive io.Reader) error {
	_, err := n.ctr(ctx, archive, "images", "import", "-")
	return err
}

// ImportImage loads an image without writing its archive to the disk, unless the
// node has it under the same stamp.
func (n Node) ImportImage(ctx context.Context, i image.Image, stamp string) error {
	record := filepath.Join("images", strings.ReplaceAll(i.Name, "/", "_"))
	if current, err := os.ReadFile(n.Layout.Path(record)); err == nil && string(current) == stamp {
		return nil
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(i.Write(writer)) }()
	err := n.Import(ctx, reader)
	reader.Close()
	if err != nil {
		return fmt.Errorf("load image %s: %w", i.Name, err)
	}
	return n.Layout.Write([]byte(stamp), record)
}

func (n Node) ctr(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	args = append([]string{"--address", n.socket(), "--connect-timeout", "10s", "--namespace", layout.ContainerNamespace}, args...)
	cmd := exec.CommandContext(ctx, "ctr", args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return out, nil
}
