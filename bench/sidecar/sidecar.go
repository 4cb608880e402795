// Package sidecar measures what sidecars add to a request on a real cluster: time, and the
// processor's.
//
//	caller → shop                        a direct connection
//	caller → bare Envoy → shop           the least that an Envoy adds
//	caller → sidecar → shop              the shop is outside the mesh
//	caller → sidecar → sidecar → shop    mTLS between the two
//
// The four take turns, so that each meets the machine as the others do.
package sidecar

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/bench/figure"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// Part is what to measure.
type Part struct {
	Rate     int           // requests per second
	Rounds   int           // of each path; a sample each
	Long     time.Duration // one round of one path
	Progress io.Writer
}

//go:embed apps.yaml
var apps string

//go:embed bare.yaml
var bare string

// bench is one run on one cluster.
type bench struct {
	Part
	*stage.Stage
	meshed, plain string // namespaces
}

// Measure prepares the cluster of stage.Open, which must run, measures and removes what it made.
func (p Part) Measure(ctx context.Context, _ string) (all []figure.Figure, err error) {
	b := &bench{Part: p}
	if b.Stage, err = stage.Open(ctx); err != nil {
		return nil, err
	}
	p.say("install Weft, a caller and a shop in the mesh and outside")
	if err := errors.Join(b.Prepare(ctx), b.LoadMeshApps(ctx)); err != nil {
		return nil, err
	}
	for name, into := range map[string]*string{sidecar.Enabled: &b.meshed, sidecar.Disabled: &b.plain} {
		space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-", Labels: map[string]string{sidecar.InjectLabel: name}}}
		if err := b.Create(ctx, space); err != nil {
			return nil, fmt.Errorf("make a namespace: %w", err)
		}
		*into = space.Name
		defer func() { err = errors.Join(err, b.Delete(context.WithoutCancel(ctx), space)) }()
	}
	paths, err := b.setUp(ctx)
	if err != nil {
		return nil, err
	}
	for i := range p.Rounds {
		for _, path := range paths {
			if err := b.round(ctx, path); err != nil {
				return nil, fmt.Errorf("%s: %w", path.name, err)
			}
		}
		p.say("round %d of %d", i+1, p.Rounds)
	}
	return figures(p.Rate, paths), nil
}

func (p Part) say(format string, args ...any) {
	fmt.Fprintf(p.Progress, "  %s\n", fmt.Sprintf(format, args...))
}

func (b *bench) setUp(ctx context.Context) ([]*path, error) {
	err := errors.Join(b.Apply(ctx, b.meshed, apps), b.Apply(ctx, b.plain, apps), b.Apply(ctx, b.plain, bare))
	for namespace, names := range map[string][]string{b.meshed: {"shop", "caller"}, b.plain: {"shop", "caller", "bare"}} {
		for _, name := range names {
			if err == nil {
				err = b.WaitDeployment(ctx, namespace, name, 3*time.Minute)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	from := map[string]corev1.Pod{}
	for _, namespace := range []string{b.meshed, b.plain} {
		if from[namespace], err = b.pod(ctx, namespace, "caller"); err != nil {
			return nil, err
		}
	}
	paths := []*path{
		{name: "direct connection", caller: from[b.plain], to: "shop." + b.plain},
		{name: "bare Envoy", caller: from[b.plain], to: "bare." + b.plain},
		{name: "one sidecar", caller: from[b.meshed], to: "shop." + b.plain},
		{name: "two sidecars, mTLS", caller: from[b.meshed], to: "shop." + b.meshed},
	}
	for _, of := range []struct {
		path           *path
		namespace, app string
	}{{paths[1], b.plain, "bare"}, {paths[2], b.meshed, "caller"}, {paths[3], b.meshed, "caller"}, {paths[3], b.meshed, "shop"}} {
		pod, err := b.pod(ctx, of.namespace, of.app)
		if err != nil {
			return nil, err
		}
		pid, err := process.InPod(string(pod.UID), "envoy")
		if err != nil {
			return nil, err
		}
		of.path.envoys = append(of.path.envoys, pid)
	}
	return paths, nil
}

// pod is the only one of an app.
func (b *bench) pod(ctx context.Context, namespace, app string) (corev1.Pod, error) {
	var all corev1.PodList
	if err := b.List(ctx, &all, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
		return corev1.Pod{}, err
	}
	if len(all.Items) != 1 {
		return corev1.Pod{}, fmt.Errorf("namespace %s has %d pods of %s, want 1", namespace, len(all.Items), app)
	}
	return all.Items[0], nil
}

// warm is for how long a path is used before it is measured.
const warm = 2 * time.Second

// round holds the load on one path and adds a sample of each kind.
func (b *bench) round(ctx context.Context, p *path) error {
	order := map[string]any{"target": load.Target{Address: p.to + ":80", Host: p.to}, "rate": b.Rate}
	if err := b.tell(ctx, p.caller, order, nil, "start"); err != nil {
		return err
	}
	err := errors.Join(pass(ctx, warm), b.tell(ctx, p.caller, nil, nil, "step", measured))
	if err != nil {
		return err
	}
	before, err := p.usage()
	if err != nil {
		return err
	}
	if err := errors.Join(pass(ctx, b.Long), b.tell(ctx, p.caller, nil, nil, "step", "end")); err != nil {
		return err
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	var results []load.Result
	if err := b.tell(ctx, p.caller, nil, &results, "stop"); err != nil {
		return err
	}
	return p.add(results, after.CPUSeconds-before.CPUSeconds, after.ResidentMB)
}

func pass(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}

// tell has a caller do something, and reads its answer.
func (b *bench) tell(ctx context.Context, caller corev1.Pod, input, answer any, command ...string) error {
	var text []byte
	if input != nil {
		var err error
		if text, err = json.Marshal(input); err != nil {
			return err
		}
	}
	out, err := b.Exec(ctx, caller, "caller", text, append([]string{"/caller"}, command...)...)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(out, answer)
}
