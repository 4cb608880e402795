package node

import (
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/process"
)

// etcd listens on ports of its own so that another etcd may run on the machine.
const (
	etcdClient  = "http://127.0.0.1:22379"
	etcdPeer    = "http://127.0.0.1:22380"
	serviceCIDR = layout.ServicesV4 + "," + layout.ServicesV6
	podCIDR     = layout.PodCIDRv4 + "," + layout.PodCIDRv6
)

// etcd keeps no promise about a crash of the machine: the cluster is made anew then.
func (n Node) etcd() process.Spec {
	return n.kubernetes("etcd",
		"--name=weft",
		"--data-dir="+n.Layout.Path("etcd"),
		"--listen-client-urls="+etcdClient,
		"--advertise-client-urls="+etcdClient,
		"--listen-peer-urls="+etcdPeer,
		"--initial-advertise-peer-urls="+etcdPeer,
		"--initial-cluster=weft="+etcdPeer,
		"--unsafe-no-fsync",
		"--auto-compaction-retention=1h",
		"--snapshot-count=10000",
		"--log-level=warn",
	)
}

func (n Node) apiServer() process.Spec {
	pki := n.pki
	return n.kubernetes("kube-apiserver", append(n.audit(),
		"--advertise-address="+layout.NodeIPv4,
		"--secure-port="+layout.APIServerPort,
		"--etcd-servers="+etcdClient,
		"--service-cluster-ip-range="+serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--token-auth-file="+pki("tokens.csv"),
		"--client-ca-file="+pki("ca.crt"),
		"--tls-cert-file="+pki("apiserver.crt"),
		"--tls-private-key-file="+pki("apiserver.key"),
		"--kubelet-certificate-authority="+pki("ca.crt"),
		"--kubelet-client-certificate="+pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key="+pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc."+layout.ClusterDomain,
		"--service-account-key-file="+pki("service-accounts.key"),
		"--service-account-signing-key-file="+pki("service-accounts.key"),
		"--requestheader-client-ca-file="+pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+pki("front-proxy-client.crt"),
		"--proxy-client-key-file="+pki("front-proxy-client.key"),
		"--cert-dir="+n.Layout.Path("pki"),
		"--profiling=false",
	)...)
}

func (n Node) controllerManager() process.Spec {
	return n.kubernetes("kube-controller-manager",
		"--kubeconfig="+n.Layout.Path("kube-controller-manager.kubeconfig"),
		"--authentication-kubeconfig="+n.Layout.Path("kube-controller-manager.kubeconfig"),
		"--authorization-kubeconfig="+n.Layout.Path("kube-controller-manager.kubeconfig"),
		"--use-service-account-credentials",
		"--service-account-private-key-file="+n.pki("service-accounts.key"),
		"--root-ca-file="+n.pki("ca.crt"),
		"--cluster-signing-cert-file="+n.pki("ca.crt"),
		"--cluster-signing-key-file="+n.pki("ca.key"),
		"--cluster-cidr="+podCIDR,
		"--service-cluster-ip-range="+serviceCIDR,
		"--allocate-node-cidrs=false",
		"--flex-volume-plugin-dir="+n.Layout.Path("kubelet", "volume-plugins"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--cert-dir="+n.Layout.Path("pki"),
		"--profiling=false",
	)
}

func (n Node) scheduler() process.Spec {
	return n.kubernetes("kube-scheduler",
		"--kubeconfig="+n.Layout.Path("kube-scheduler.kubeconfig"),
		"--authentication-kubeconfig="+n.Layout.Path("kube-scheduler.kubeconfig"),
		"--authorization-kubeconfig="+n.Layout.Path("kube-scheduler.kubeconfig"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--cert-dir="+n.Layout.Path("pki"),
		"--profiling=false",
	)
}

// proxy leaves the connection tracking sysctls of the machine as they are.
func (n Node) proxy() process.Spec {
	return n.kubernetes("kube-proxy",
		"--kubeconfig="+n.Layout.Path("kube-proxy.kubeconfig"),
		"--hostname-override="+layout.NodeName,
		"--proxy-mode=nftables",
		"--cluster-cidr="+podCIDR,
		"--conntrack-max-per-core=0",
		"--conntrack-tcp-timeout-established=0s",
		"--conntrack-tcp-timeout-close-wait=0s",
		"--healthz-bind-address=127.0.0.1:10256",
		"--metrics-bind-address=127.0.0.1:10249",
	)
}

// kubernetes is a process of the multi-call binary.
func (n Node) kubernetes(name string, args ...string) process.Spec {
	return process.Spec{Name: name, Path: n.Layout.Bin(name), Args: args}
}

func (n Node) pki(file string) string { return n.Layout.Path("pki", file) }

// nodeLabels are those of the node that a zone-aware mesh reads.
func nodeLabels() string {
	return strings.Join([]string{"topology.kubernetes.io/region=" + layout.Region, "topology.kubernetes.io/zone=" + layout.Zone}, ",")
}
