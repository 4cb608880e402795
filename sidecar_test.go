package main

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestInjectedArguments: what a pod's init container is given is what weft redirect takes.
func TestInjectedArguments(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			sidecar.ExcludeInboundPorts: "22", sidecar.ExcludeOutboundPorts: "5432, 53", sidecar.ExcludeOutboundCIDRs: "10.0.0.0/8,fd00::/8",
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(6379)},
		}}}}},
	}
	o, problem := sidecar.OptionsOf(pod, nil, v1alpha1.SidecarDefaults{})
	if problem != "" {
		t.Fatal(problem)
	}
	e := sidecar.Envoy{TokenPath: "/t/token", RootsPath: "/r/ca.crt", SDSPath: "/sds"}
	args := sidecar.Inject(pod, o, "weft:test", e, "REVISION").Spec.InitContainers[0].Args
	if commands[args[0]] == nil {
		t.Fatalf("%q is no command", args[0])
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$(HOST_IPS)", "192.0.2.1,2001:db8::1") // as the kubelet does
	}
	var r redirection
	if err := r.parse(args[1:], ""); err != nil {
		t.Fatalf("weft %q: %v", args, err)
	}
	got := fmt.Sprintln(r.NodeIPs, r.TCPProbePorts, r.ExcludeInbound, r.ExcludeOutbound, r.ExcludeNetworks, r.sds, r.token, r.roots)
	if want := "[192.0.2.1 2001:db8::1] [6379] [22] [53 5432] [10.0.0.0/8 fd00::/8] /sds /t/token /r/ca.crt\n"; got != want {
		t.Errorf("got %swant %s", got, want)
	}
}
