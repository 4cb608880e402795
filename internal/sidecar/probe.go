package sidecar

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Probe is one thing that the kubelet asks of a pod over the network: a declared probe, or a hook of
// a container's lifecycle.
type Probe struct {
	Port    int32
	Kind    ProbeKind
	Path    string // of HTTP and HTTPS: path and query as the kubelet sends them
	Service string // of GRPC: the service asked about; may be empty
}

// ProbeKind is how the kubelet asks.
type ProbeKind string

// The kinds.
const (
	HTTP  ProbeKind = "HTTP"
	HTTPS ProbeKind = "HTTPS"
	GRPC  ProbeKind = "GRPC"
	TCP   ProbeKind = "TCP"
)

// Probes are those of a pod's own containers, in order and without repeats. What the kubelet asks
// of the proxy, of another host, or could not ask because a port's name leads nowhere, is none.
func Probes(p *corev1.Pod) (all []Probe) {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == ProxyContainer {
			continue
		}
		for _, asked := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if asked != nil {
				all = appendProbe(all, c, asked.ProbeHandler)
			}
		}
		if c.Lifecycle == nil {
			continue
		}
		for _, hook := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if hook != nil {
				all = appendProbe(all, c, corev1.ProbeHandler{HTTPGet: hook.HTTPGet})
			}
		}
	}
	slices.SortFunc(all, func(a, b Probe) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Service, b.Service))
	})
	return slices.Compact(all)
}

func appendProbe(all []Probe, c corev1.Container, h corev1.ProbeHandler) []Probe {
	var found Probe
	switch {
	case h.HTTPGet != nil && h.HTTPGet.Host == "":
		found = Probe{Port: portOf(c, h.HTTPGet.Port), Kind: HTTP, Path: requestURI(h.HTTPGet.Path)}
		if h.HTTPGet.Scheme == corev1.URISchemeHTTPS {
			found.Kind = HTTPS
		}
	case h.TCPSocket != nil && h.TCPSocket.Host == "":
		found = Probe{Port: portOf(c, h.TCPSocket.Port), Kind: TCP}
	case h.GRPC != nil:
		found = Probe{Port: portOf(c, intstr.FromInt32(h.GRPC.Port)), Kind: GRPC}
		if h.GRPC.Service != nil {
			found.Service = *h.GRPC.Service
		}
	}
	if found.Port == 0 {
		return all
	}
	return append(all, found)
}

// portOf is a port of a container by number or name; 0 when it has none of that name.
func portOf(c corev1.Container, port intstr.IntOrString) int32 {
	number := port.IntVal
	if port.Type == intstr.String {
		number = 0
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				number = p.ContainerPort
				break
			}
		}
	}
	if number < 1 || number > 65535 {
		return 0
	}
	return number
}

// requestURI is what the kubelet's request line holds for a path. It keeps what is escaped as it is
// written, escapes what must be, and drops a fragment. A path that is no URL is escaped as a whole.
func requestURI(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	u.Scheme, u.Host = "http", net.JoinHostPort("pod", strconv.Itoa(80))
	sent, err := url.Parse(u.String())
	if err != nil {
		return path
	}
	return sent.RequestURI()
}

// ExcludedInbound are the ports of a pod that the mesh leaves alone: what reaches them goes to the
// app as it comes. An annotation that admission would refuse excludes none.
func ExcludedInbound(p *corev1.Pod) []uint16 {
	ports, err := ParsePorts(p.Annotations[ExcludeInboundPorts])
	if err != nil {
		return nil
	}
	return ports
}
