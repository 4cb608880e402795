package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/process"
)

// Away kills a process of Kubernetes, and starts it again after that time, or when ctx ends. It
// returns when the API server is ready and, after the kubelet was away, that listens.
func (n Node) Away(ctx context.Context, name string, long time.Duration) error {
	all := []process.Spec{n.apiServer(), n.controllerManager(), n.scheduler(), n.kubelet(), n.proxy()}
	at := slices.IndexFunc(all, func(s process.Spec) bool { return s.Name == name })
	if at < 0 {
		return fmt.Errorf("away: %q is no process of Kubernetes", name)
	}
	if _, running, err := n.Processes.Find(name); err != nil || !running {
		return errors.Join(fmt.Errorf("away: %s does not run: run `up` first", name), err)
	}
	err := n.Processes.End(ctx, name)
	if err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(long):
		}
	}
	ctx = context.WithoutCancel(ctx)
	err = errors.Join(err, n.Processes.Start(all[at]), n.startAPIServer(ctx))
	if name == "kubelet" { // who runs something in a pod next asks it
		err = errors.Join(err, n.wait(ctx, name, probeTCP(net.JoinHostPort(layout.NodeIPv4, kubeletPort))))
	}
	return err
}
