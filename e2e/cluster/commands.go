package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weft-mesh/weft/e2e/cluster/internal/build"
	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
	"github.com/weft-mesh/weft/e2e/cluster/internal/loadbalancer"
	"github.com/weft-mesh/weft/e2e/cluster/internal/node"
)

func down(ctx context.Context, l layout.Layout, _ []string) error {
	release, err := takeMachine(ctx, l)
	if err != nil {
		return err
	}
	defer release()
	return steps{began: time.Now()}.do(ctx, "down", node.New(l).Delete)
}

// status prints each process and fails unless all run.
func status(_ context.Context, l layout.Layout, _ []string) error {
	n := node.New(l)
	missing := 0
	for _, name := range node.Names {
		pid, running, err := n.Processes.Find(name)
		switch {
		case err != nil:
			return err
		case running:
			fmt.Printf("%-24s running  pid %d\n", name, pid)
		default:
			missing++
			fmt.Printf("%-24s stopped\n", name)
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d processes are stopped: run `up`", missing, len(node.Names))
	}
	return nil
}

func kubeconfig(_ context.Context, l layout.Layout, _ []string) error {
	if _, err := os.Stat(l.Kubeconfig()); err != nil {
		return fmt.Errorf("no cluster, run `up`: %w", err)
	}
	fmt.Println(l.Kubeconfig())
	return nil
}

// auditLog prints where the API server keeps its record of what Weft changes.
func auditLog(_ context.Context, l layout.Layout, _ []string) error {
	fmt.Println(node.New(l).AuditLog())
	return nil
}

func load(ctx context.Context, l layout.Layout, archives []string) error {
	if len(archives) == 0 {
		return errors.New("load: name at least one image archive")
	}
	release, err := takeMachine(ctx, l) // not while another run starts or stops containerd
	if err != nil {
		return err
	}
	defer release()
	n := node.New(l)
	if _, running, err := n.Processes.Find("containerd"); err != nil || !running {
		return errors.Join(errors.New("load: no cluster runs: run `up` first"), err)
	}
	for _, path := range archives {
		archive, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		err = n.Import(ctx, archive)
		archive.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

func tool(ctx context.Context, l layout.Layout, args []string) error {
	if len(args) != 1 {
		return errors.New("tool: name one tool")
	}
	source, err := build.FindSource()
	if err != nil {
		return err
	}
	path, err := build.Builder{Layout: l, Source: source}.Tool(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

// away has the cluster do without one of its processes for a while.
func away(ctx context.Context, l layout.Layout, args []string) error {
	if len(args) != 2 {
		return errors.New("away: name a process and a duration, such as kube-apiserver 60s")
	}
	long, err := time.ParseDuration(args[1])
	if err != nil {
		return fmt.Errorf("away: %w", err)
	}
	release, err := takeMachine(ctx, l)
	if err != nil {
		return err
	}
	defer release()
	return node.New(l).Away(ctx, args[0], long)
}

func runLoadBalancer(ctx context.Context, l layout.Layout, _ []string) error {
	pool, err := loadbalancer.NewPool(layout.PoolV4, layout.PoolV6)
	if err != nil {
		return err
	}
	return loadbalancer.Run(ctx, l.Kubeconfig(), pool)
}
