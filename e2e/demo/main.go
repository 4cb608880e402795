// Command demo shows Weft at work: it starts a real Kubernetes cluster (or takes that of
// KUBECONFIG), installs Weft, deploys a shop with two versions and sends requests through a Gateway, then puts the shop into the mesh.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/e2e/stage"
)

//go:embed shop.yaml
var shop string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	d := &demo{began: time.Now()}
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"A cluster", d.cluster},
		{"Gateway API", func(ctx context.Context) error { return d.stage.InstallGatewayAPI(ctx) }},
		{"Weft: kubectl apply -f dist/install.yaml", func(ctx context.Context) error { return d.stage.InstallWeft(ctx) }},
		{"A shop with two versions, blue and green", d.shop},
		{"A Gateway, which Weft turns into two Envoys", d.gateway},
		{"Requests", d.requests},
		{"A change while people buy", d.change},
		{"The mesh: mTLS to every pod of the shop, while people buy", d.mesh},
	} {
		if err := d.step(ctx, step.title, step.do); err != nil {
			return err
		}
	}
	d.next()
	return nil
}

// demo is one run.
type demo struct {
	began   time.Time
	stage   *stage.Stage
	address string
}

func (d *demo) step(ctx context.Context, title string, do func(context.Context) error) error {
	began := time.Now()
	fmt.Printf("\n%s\n", bold(title))
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	d.say("done in %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// bold makes a heading stand out on a terminal.
func bold(text string) string {
	out, err := os.Stdout.Stat()
	if err != nil || out.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return "\033[1m" + text + "\033[0m"
}

func (d *demo) say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// cluster starts the local cluster unless KUBECONFIG names one.
func (d *demo) cluster(ctx context.Context) (err error) {
	if os.Getenv("KUBECONFIG") == "" {
		up := exec.CommandContext(ctx, "go", "run", ".", "up")
		up.Dir = filepath.Join("e2e", "cluster")
		up.Stdout, up.Stderr = os.Stdout, os.Stderr
		if err := up.Run(); err != nil {
			return err
		}
	}
	if d.stage, err = stage.Open(ctx); err != nil {
		return err
	}
	version, err := d.stage.Clients.Discovery().ServerVersion()
	if err == nil {
		d.say("Kubernetes %s, kubeconfig %s", version.GitVersion, d.stage.Kubeconfig)
	}
	return err
}

func (d *demo) shop(ctx context.Context) error {
	if err := d.stage.LoadShop(ctx); err != nil {
		return err
	}
	if err := d.stage.Apply(ctx, "", shop); err != nil {
		return err
	}
	for _, version := range []string{"blue", "green"} {
		if err := d.stage.WaitDeployment(ctx, "shop", version, 3*time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// next says what to try by hand, and how long all of it took.
func (d *demo) next() {
	kubectl := "kubectl"
	if d.stage.Local {
		kubectl = "kubectl --kubeconfig " + d.stage.Kubeconfig
		fmt.Printf("\n%s\n", "kubectl for this cluster: `cd e2e/cluster && go run . tool kubectl` prints its path.")
	}
	fmt.Printf(`
Try next:
  curl -H 'Host: shop.example.com' http://%[1]s/api/goods
  curl -H 'Host: shop.example.com' -H 'X-Preview: green' http://%[1]s/api/goods
  %[2]s -n shop edit httproute shop          # change the weights
  %[2]s -n shop get gateway,httproute,pods
  %[2]s get mesh default -o yaml             # what Weft says of itself
  make cluster-down                          # when you are done

All of it took %[3]s.
`, d.address, kubectl, time.Since(d.began).Round(time.Second))
}
