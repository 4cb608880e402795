// Package build makes the cluster's binaries and keeps them in the cache folder
// until what they are made from changes.
package build

import "github.com/weft-mesh/weft/e2e/cluster/internal/layout"

// Versions of what the modules in this folder pin.
const (
	kubernetesVersion = "v1.37.2"
	kubernetesMinor   = "37"
	envoyVersion      = "1.40.0"
)

// Artifact is a binary that is built from a Go module in this folder.
type Artifact struct {
	Name string
	// Module is the module's folder, relative to that of the cluster command.
	Module  string
	Package string
	// Tags choose what is built, separated by commas.
	Tags string
	// Flags go to the linker.
	Flags string
	// Links are other names of a multi-call binary.
	Links []string
	// Image names the image made from the binary, if any.
	Image string
}

// Kubernetes is the control plane, the node's agents, etcd and kubectl. Clients
// parse the server's version, so it is stamped.
var Kubernetes = Artifact{
	Name: "kubernetes", Module: "node/kubernetes", Package: ".",
	Flags: stamp("k8s.io/component-base/version") + stamp("k8s.io/client-go/pkg/version"),
	Links: []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"},
}

// The other binaries that run in the cluster's pods.
var (
	Pause      = Artifact{Name: "pause", Module: ".", Package: "./node/pause", Image: layout.PauseImage}
	CoreDNS    = Artifact{Name: "coredns", Module: "node/coredns", Package: ".", Image: "weft.local/coredns:v1.15.0"}
	Controller = Artifact{Name: "cert-manager-controller", Module: "certmanager", Package: "./controller", Image: "weft.local/cert-manager-controller:v1.21.2"}
	CAInjector = Artifact{Name: "cert-manager-cainjector", Module: "certmanager", Package: "./cainjector", Image: "weft.local/cert-manager-cainjector:v1.21.2"}
	Webhook    = Artifact{Name: "cert-manager-webhook", Module: "certmanager", Package: "./webhook", Image: "weft.local/cert-manager-webhook:v1.21.2"}
)

// Prometheus finds what it scrapes in a cluster; Debian's cannot. It runs in none until a story loads it.
var Prometheus = Artifact{
	Name: "prometheus", Module: "prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus",
	Tags: "remove_all_sd,enable_kubernetes_sd",
}

// Artifacts lists every binary built from Go.
var Artifacts = []Artifact{Kubernetes, Pause, CoreDNS, Controller, CAInjector, Webhook, Prometheus}

func stamp(pkg string) string {
	return " -X " + pkg + ".gitVersion=" + kubernetesVersion +
		" -X " + pkg + ".gitMajor=1 -X " + pkg + ".gitMinor=" + kubernetesMinor
}
