package node

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/process"
)

// kubelet runs the pods. Housekeeping is slow to spare the processor.
func (n Node) kubelet() process.Spec {
	return n.kubernetes("kubelet",
		"--config="+n.Layout.Path("kubelet.json"),
		"--kubeconfig="+n.Layout.Path("kubelet.kubeconfig"),
		"--root-dir="+n.Layout.Path("kubelet"),
		"--cert-dir="+n.Layout.Path("pki"),
		"--hostname-override="+layout.NodeName,
		"--node-ip="+layout.NodeIPv4+","+layout.NodeIPv6,
		"--node-labels="+nodeLabels(),
		"--housekeeping-interval=30s",
	)
}

// writeKubeletConfig also writes the resolver file that pods with the DNS policy
// Default get: the machine's, without servers that only the machine can reach.
func (n Node) writeKubeletConfig() error {
	resolvers, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return fmt.Errorf("read the machine's resolvers: %w", err)
	}
	if err := n.Layout.Write(reachableResolvers(resolvers), "resolv.conf"); err != nil {
		return err
	}
	config, err := json.MarshalIndent(n.kubeletConfig(), "", "  ")
	if err != nil {
		return fmt.Errorf("encode the kubelet's configuration: %w", err)
	}
	return n.Layout.Write(config, "kubelet.json")
}

func (n Node) kubeletConfig() map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": n.pki("ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              n.pki("kubelet.crt"),
		"tlsPrivateKeyFile":        n.pki("kubelet.key"),
		"containerRuntimeEndpoint": "unix://" + n.socket(),
		"cgroupDriver":             "cgroupfs",
		"failCgroupV1":             false,
		"enforceNodeAllocatable":   []string{},
		"failSwapOn":               false,
		"makeIPTablesUtilChains":   false,
		"podLogsDir":               n.Layout.Path("logs", "pods"),
		"volumePluginDir":          n.Layout.Path("kubelet", "volume-plugins"),
		"clusterDNS":               []string{layout.DNSServiceV4},
		"clusterDomain":            layout.ClusterDomain,
		"resolvConf":               n.Layout.Path("resolv.conf"),
		"maxPods":                  250,
		"podPidsLimit":             -1,
		"syncFrequency":            "10s",
		"configMapAndSecretChangeDetectionStrategy": "Watch",
		"imageGCHighThresholdPercent":               100,
		"evictionHard": map[string]string{
			"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
		},
	}
}

// reachableResolvers drops the name servers on a loopback address.
func reachableResolvers(file []byte) []byte {
	var kept bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "nameserver" {
			if ip, err := netip.ParseAddr(fields[1]); err != nil || ip.IsLoopback() {
				continue
			}
		}
		fmt.Fprintln(&kept, lines.Text())
	}
	return kept.Bytes()
}
