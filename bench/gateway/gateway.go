// Package gateway measures a Gateway on a real cluster: how long a route takes from its creation
// to its first answer, and what the operator and the proxies use meanwhile.
//
//	shop + Gateway → idle → 1,000 routes on hostnames of their own → none → many on one hostname
//
// It asks through the Gateway's address all the time, on connections that it keeps, and counts
// every answer that is neither the one before the change nor the one after it.
//
// Beside this, it measures what howardjohn/gateway-api-bench measures, as far as one node of two cores
// carries it: Attached, Added, Changed and Scaled, each on a Gateway of its own.
package gateway

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/e2e/stage"
)

// Part is what to measure.
type Part struct {
	Routes   int   // present, on hostnames of their own
	Changes  int   // of which each is a sample
	Sharing  []int // how many routes share one hostname
	Few      int   // changes for each of Sharing
	Progress io.Writer

	Alternations int           // changes of one route under load: Changed
	Namespaces   int           // with as many Services and routes each as PerNamespace: Scaled
	PerNamespace int           //
	Churn        time.Duration // for how long pods and routes change then
}

// bench is one run on one cluster.
type bench struct {
	Part
	*stage.Stage
	namespace string
	address   string // host:port of the Gateway
	operator  workload
	proxies   workload
}

//go:embed shop.yaml
var shop string

// Measure prepares the cluster of stage.Open, measures and removes what it made. So do the others.
func (p Part) Measure(ctx context.Context, root string) ([]figure.Figure, error) {
	return p.on(ctx, root, (*bench).parts)
}

// on has something measured on a Gateway of its own.
func (p Part) on(ctx context.Context, root string, measure func(*bench, context.Context) ([]figure.Figure, error)) (all []figure.Figure, err error) {
	b := &bench{Part: p}
	if err := p.cluster(ctx, root); err != nil {
		return nil, err
	}
	if b.Stage, err = stage.Open(ctx); err != nil {
		return nil, err
	}
	p.say("install Weft and a Gateway with a shop")
	if err := b.Prepare(ctx); err != nil {
		return nil, err
	}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := b.Create(ctx, space); err != nil {
		return nil, fmt.Errorf("make a namespace: %w", err)
	}
	b.namespace = space.Name
	defer func() { err = errors.Join(err, b.remove(context.WithoutCancel(ctx), space)) }()
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	return measure(b, ctx)
}

// remove deletes a namespace, and waits until its routes are gone, so that the next part does not meet
// their removal.
func (b *bench) remove(ctx context.Context, space *corev1.Namespace) error {
	if err := b.Delete(ctx, space); err != nil {
		return fmt.Errorf("remove namespace %s: %w", space.Name, err)
	}
	return stage.Until(ctx, slow, func(ctx context.Context) error {
		var left gwv1.HTTPRouteList
		if err := b.List(ctx, &left, client.InNamespace(space.Name), client.Limit(1)); err != nil || len(left.Items) > 0 {
			return fmt.Errorf("routes of namespace %s are still there: %v", space.Name, err)
		}
		return nil
	})
}

// cluster starts the local cluster unless KUBECONFIG names one.
func (p Part) cluster(ctx context.Context, root string) error {
	if os.Getenv("KUBECONFIG") != "" {
		return nil
	}
	up := exec.CommandContext(ctx, "go", "run", ".", "up")
	up.Dir, up.Stdout, up.Stderr = filepath.Join(root, "e2e", "cluster"), p.Progress, os.Stderr
	if err := up.Run(); err != nil {
		return fmt.Errorf("start a cluster: %w", err)
	}
	return nil
}

func (p Part) say(format string, args ...any) {
	fmt.Fprintf(p.Progress, "  %s\n", fmt.Sprintf(format, args...))
}

func (b *bench) setUp(ctx context.Context) error {
	if err := b.Apply(ctx, b.namespace, shop); err != nil {
		return err
	}
	if err := b.WaitDeployment(ctx, b.namespace, "shop", 3*time.Minute); err != nil {
		return err
	}
	if err := stage.Until(ctx, 3*time.Minute, b.programmed); err != nil {
		return fmt.Errorf("the Gateway is not programmed: %w", err)
	}
	if err := b.answers(ctx, own("nothing", 0), http.StatusNotFound); err != nil {
		return err
	}
	var err error
	if b.operator, err = b.pods(ctx, stage.System, client.MatchingLabels{"app.kubernetes.io/name": "weft"}, "weft"); err != nil {
		return err
	}
	b.proxies, err = b.pods(ctx, b.namespace, client.MatchingLabels{gwv1.GatewayNameLabelKey: "front"}, "envoy")
	return err
}

func (b *bench) programmed(ctx context.Context) error {
	var gateway gwv1.Gateway
	if err := b.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: "front"}, &gateway); err != nil {
		return err
	}
	if len(gateway.Status.Addresses) == 0 || !meta.IsStatusConditionTrue(gateway.Status.Conditions, string(gwv1.GatewayConditionProgrammed)) {
		return fmt.Errorf("its status is %+v", gateway.Status)
	}
	b.address = gateway.Status.Addresses[0].Value + ":80"
	return nil
}

// parts measures one after the other. A route that stays has the proxies know the shop's Service
// from the second on.
func (b *bench) parts(ctx context.Context) (all []figure.Figure, err error) {
	alone, err := b.probeOwn(ctx, b.Few, "its Service new to the proxies")
	if err != nil {
		return nil, err
	}
	stays := own("stays", 0)
	if err := b.Create(ctx, b.route(stays)); err != nil {
		return nil, fmt.Errorf("create the route that stays: %w", err)
	}
	if err := b.answers(ctx, stays, http.StatusOK); err != nil {
		return nil, err
	}
	idle, err := b.probeOwn(ctx, b.Changes, "1 route present")
	if err != nil {
		return nil, err
	}
	filled, err := b.scale(ctx)
	if err != nil {
		return nil, err
	}
	full, err := b.probeOwn(ctx, b.Changes, fmt.Sprintf("%d routes present", b.Routes))
	if err != nil {
		return nil, err
	}
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	curve, err := b.shared(ctx)
	return slices.Concat(idle.figures(), full.figures(), alone.figures()[:1], filled, curve), err
}
