// Package sidecar says what makes a pod part of the mesh: what is added to it at admission, and
// what can be read off a pod that is in it.
//
//	Pod + settings of the Mesh → Pod with a native sidecar of stock Envoy, or what is wrong with it
//
// It is pure: webhooks/inject.go gives it pods, internal/mesh reads them.
package sidecar

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// InjectLabel on a namespace, with the value Enabled, puts its pods into the mesh; with another, it
// keeps all of them out. On a pod, Disabled keeps it out of a namespace that is in, and Enabled puts it
// in from a namespace without the label.
const (
	InjectLabel = "mesh.weft.dev/inject"
	Enabled     = "enabled"
	Disabled    = "disabled"
)

// RevisionLabel on a namespace or, which goes before it, on a pod says which operator gives pods their
// sidecars: the one that runs with this --revision. Without it, or where it is empty, that is the operator
// without one. It puts no pod into the mesh.
const RevisionLabel = "mesh.weft.dev/revision"

// AnnotationPrefix begins every annotation of Weft.
const AnnotationPrefix = "mesh.weft.dev/"

// Names of what a pod in the mesh has.
const (
	ProxyContainer    = "weft-proxy"    // the native sidecar
	RedirectContainer = "weft-redirect" // the init container before it
)

// UID is the user and group of the proxy. What it sends is not captured.
const UID int64 = 1337

// The ports of a sidecar. What reaches the pod is redirected to InboundPort or, if the pod's own
// node sent it, to NodeInboundPort; what leaves the pod, to OutboundPort.
const (
	OutboundPort    = 15001
	InboundPort     = 15006
	NodeInboundPort = 15007
	AdminPort       = 15000 // on the loopback interface only
	ReadyPort       = 15021
	StatsPort       = 15090
)

// Meshed says whether a pod has a sidecar.
func Meshed(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == ProxyContainer })
}
