package sidecar

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const optOut = "label the pod " + InjectLabel + "=" + Disabled

// unfit tells what in a pod keeps a sidecar out.
func unfit(p *corev1.Pod) string {
	if p.Spec.HostNetwork {
		return "spec.hostNetwork is true: the node's own traffic cannot be captured; turn it off, or keep the pod out of the mesh: " + optOut
	}
	if p.Spec.OS != nil && p.Spec.OS.Name != corev1.Linux {
		return fmt.Sprintf("spec.os.name is %s: a sidecar needs Linux; keep the pod out of the mesh: %s", p.Spec.OS.Name, optOut)
	}
	for _, v := range p.Spec.Volumes {
		if slices.Contains(ownVolumes, v.Name) {
			return fmt.Sprintf("volume %s has a name that the sidecar needs: rename it", v.Name)
		}
	}
	if s := p.Spec.SecurityContext; s != nil {
		if problem := sameUser("spec.securityContext", s.RunAsUser, s.RunAsGroup); problem != "" {
			return problem
		}
	}
	for _, c := range p.Spec.InitContainers {
		if problem := unfitContainer("spec.initContainers", c); problem != "" {
			return problem
		}
	}
	for _, c := range p.Spec.Containers {
		if problem := unfitContainer("spec.containers", c); problem != "" {
			return problem
		}
	}
	return ""
}

func unfitContainer(list string, c corev1.Container) string {
	at := fmt.Sprintf("%s[%s]", list, c.Name)
	if c.Name == ProxyContainer || c.Name == RedirectContainer {
		return at + " has a name that the sidecar needs: rename it; if the pod is a copy of one that was in the mesh, remove " +
			ProxyContainer + ", " + RedirectContainer + " and their volumes"
	}
	for _, p := range c.Ports {
		if slices.Contains(ownPorts, p.ContainerPort) && p.Protocol != corev1.ProtocolUDP && p.Protocol != corev1.ProtocolSCTP {
			return fmt.Sprintf("%s declares port %d, which is the sidecar's (as are %v): use another port, or %s", at, p.ContainerPort, ownPorts, optOut)
		}
	}
	if s := c.SecurityContext; s != nil {
		return sameUser(at+".securityContext", s.RunAsUser, s.RunAsGroup)
	}
	return ""
}

var ownPorts = []int32{AdminPort, OutboundPort, InboundPort, NodeInboundPort, ReadyPort, StatsPort}

// sameUser refuses the proxy's user and group, whose traffic is not captured.
func sameUser(at string, user, group *int64) string {
	for _, id := range []struct {
		field string
		value *int64
	}{{"runAsUser", user}, {"runAsGroup", group}} {
		if id.value != nil && *id.value == UID {
			return fmt.Sprintf("%s.%s is %d, the proxy's, whose traffic does not pass through the mesh: use another", at, id.field, UID)
		}
	}
	return ""
}

// enforceLabel is the level of Pod Security that a namespace holds its pods to.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// forbidden tells that a namespace's level of Pod Security does not allow NET_ADMIN.
func forbidden(ns *corev1.Namespace) string {
	if ns == nil {
		return ""
	}
	level := ns.Labels[enforceLabel]
	if level != "baseline" && level != "restricted" {
		return ""
	}
	return fmt.Sprintf("namespace %s enforces Pod Security level %s, which does not allow the capability NET_ADMIN that %s needs: label the namespace %s=privileged "+
		"(%s=%s can go on telling of the rest), or keep the pod out of the mesh: %s",
		ns.Name, level, RedirectContainer, enforceLabel, "pod-security.kubernetes.io/warn", level, optOut)
}
