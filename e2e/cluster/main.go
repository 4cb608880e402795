// Command cluster makes a real single-node Kubernetes cluster on a Debian
// machine, as root and without Docker, for Weft's end-to-end tests.
//
// Every part is the real one: etcd, the API server, the controller manager, the
// scheduler, the kubelet and kube-proxy are built from their Go modules
// (node/kubernetes), as are CoreDNS (node/coredns), cert-manager (certmanager)
// and, for the stories that load it, Prometheus (prometheus); containerd, runc and
// the CNI plugins are Debian's, Envoy is the official binary. Binaries are cached,
// so the first run takes minutes and later ones seconds. Pods, Services and
// LoadBalancer addresses have IPv4 and IPv6 and are reachable from the machine
// itself.
//
// The processes run in the background. The state folder holds everything that
// belongs to the cluster, and `down` deletes it with every trace on the machine;
// `up` completes what runs, after it deleted what a killed run left half-made.
//
//	go run . up [--without cert-manager]   make or complete the cluster
//	go run . down                          delete it
//	go run . status                        say what runs
//	go run . kubeconfig                    print the administrator's kubeconfig path
//	go run . audit-log                     print the path of the record of what Weft changes
//	go run . load IMAGE.tar...             load images into the node
//	go run . image --name N --binary P -o F   make an image from binaries
//	go run . tool NAME                     print a cached tool's path, made when absent
//	go run . away NAME DURATION            end a process, and start it again after that time
//
// WEFT_CLUSTER_DIR moves the state folder, WEFT_CACHE the cache.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/node"
)

const usage = "usage: cluster up|down|status|kubeconfig|audit-log|load|image|tool|away [arguments]"

// commands maps a sub-command to its function.
var commands = map[string]func(context.Context, layout.Layout, []string) error{
	"up":                       up,
	"down":                     down,
	"status":                   status,
	"kubeconfig":               kubeconfig,
	"audit-log":                auditLog,
	"load":                     load,
	"image":                    makeImage,
	"tool":                     tool,
	"away":                     away,
	"run-" + node.LoadBalancer: runLoadBalancer,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New(usage)
	}
	l, err := layout.FromEnvironment()
	if err != nil {
		return err
	}
	return commands[args[0]](ctx, l, args[1:])
}
