package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// probe is one way in which the kubelet asks an application, and the port that it asks.
type probe struct{ kind, port, probe string }

var probes = []probe{
	{"http", "http", `httpGet: {path: /ready, port: 8080}`},
	{"grpc", "grpc", `grpc: {port: 9090}`},
	{"tcp", "tcp", `tcpSocket: {port: 9000}`},
	{"exec", "exec", `exec: {command: [/echo, healthy]}`},
}

// TestProbesKnowWhetherTheApplicationAnswers has the kubelet probe applications that take mTLS only.
// All are ready. When an application stops to answer, its probes fail: it turns unready, and its
// container is restarted and ready again.
func TestProbesKnowWhetherTheApplicationAnswers(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "probes")
	for _, p := range probes {
		s.Apply(manifest(t, "mesh/probes.yaml", "$KIND", p.kind, "$PROBE", p.probe))
	}
	for _, p := range probes {
		s.Rollout("probed-" + p.kind)
		untouched(t, s, "probed-"+p.kind)
	}
	for _, p := range probes {
		stops(t, s, p)
	}
	nothingElse(t, s)
}

// untouched wants the application's container to be what its Deployment says.
func untouched(t *testing.T, s *stage.Scene, name string) {
	t.Helper()
	var deployment appsv1.Deployment
	if err := s.Get(t.Context(), s.Key(name), &deployment); err != nil {
		t.Fatal(err)
	}
	wanted, pod := deployment.Spec.Template.Spec.Containers, s.Pod(name)
	if len(pod.Spec.InitContainers) == 0 {
		t.Errorf("pod %s has no sidecar", pod.Name)
	}
	if !equality.Semantic.DeepEqual(wanted, pod.Spec.Containers) {
		t.Errorf("the containers of pod %s are %+v, its Deployment says %+v", pod.Name, pod.Spec.Containers, wanted)
	}
}

// stops has an application stop to answer, and looks what its kubelet makes of it.
func stops(t *testing.T, s *stage.Scene, p probe) {
	t.Helper()
	pod := s.Pod("probed-" + p.kind)
	if _, err := s.Exec(t.Context(), pod, "echo", nil, "/echo", "turn", p.port, "off"); err != nil {
		t.Fatal(err)
	}
	now := func(ctx context.Context) (*corev1.ContainerStatus, error) {
		err := s.Get(ctx, s.Key(pod.Name), &pod)
		if err == nil && len(pod.Status.ContainerStatuses) != 1 {
			err = fmt.Errorf("%d containers", len(pod.Status.ContainerStatuses))
		}
		if err != nil {
			return nil, err
		}
		return &pod.Status.ContainerStatuses[0], nil
	}
	unready := s.Until(time.Minute, p.kind+" turns unready", func(ctx context.Context) error {
		c, err := now(ctx)
		if err == nil && c.Ready {
			err = fmt.Errorf("its readiness probe passes")
		}
		return err
	})
	restarted := s.Until(2*time.Minute, p.kind+" is restarted and ready again", func(ctx context.Context) error {
		c, err := now(ctx)
		if err == nil && (c.RestartCount == 0 || !c.Ready) {
			err = fmt.Errorf("restarted %d times, ready: %v", c.RestartCount, c.Ready)
		}
		return err
	})
	t.Logf("%-4s probe: unready %s after the application stopped, restarted and ready %s later", p.kind, unready.Round(time.Millisecond), restarted.Round(time.Millisecond))
}

// nothingElse tries to get more than a probe through the doors that probes have, from the network of
// the node itself.
func nothingElse(t *testing.T, s *stage.Scene) {
	t.Helper()
	outside := s.Outside("node")
	caller(t, outside, "host", true)
	host := outside.Caller("host")
	tcp, http := s.Pod("probed-tcp"), s.Pod("probed-http")
	if out := host.Call(call.Request{Protocol: call.TCP, Address: at(tcp.Status.PodIP, 9000), Text: "a word", Within: 5 * time.Second}); out.Err() == nil {
		t.Errorf("the port of a TCP probe answers more than a probe: %+v", out)
	}
	if read := bytesRead(t, s, tcp)["tcp"]; read != 0 {
		t.Errorf("%d bytes reached the application through the port of its TCP probe", read)
	}
	for _, r := range []call.Request{
		{Protocol: call.HTTP, Address: at(http.Status.PodIP, 8080), Path: "/other"},
		{Protocol: call.HTTP, Address: at(http.Status.PodIP, 8080), Path: "/ready", Text: "a POST"},
		{Protocol: call.TCP, Address: at(http.Status.PodIP, 9000), Text: "a word"},
		{Protocol: call.GRPC, Address: at(s.Pod("probed-grpc").Status.PodIP, 9090), Text: "a word"},
	} {
		r.Within = 5 * time.Second
		if out := host.Call(r); out.Failed == "" && out.Status < 300 {
			t.Errorf("%s %s%s of the node is answered: %+v", r.Protocol, r.Address, r.Path, out)
		}
	}
}
