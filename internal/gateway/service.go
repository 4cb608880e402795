package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func serviceAccount(g *gwv1.Gateway) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   meta(g),
		AutomountServiceAccountToken: new(false),
	}
}

// service asks for a load balancer. Envoy listens on the Gateway's own ports, so that each port of
// the Service leads to the same one of the pods.
func service(g *gwv1.Gateway, ports []corev1.ServicePort) *corev1.Service {
	policy, families := corev1.IPFamilyPolicyPreferDualStack, requestedFamily(g)
	if families != nil {
		policy = corev1.IPFamilyPolicySingleStack
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(g),
		Spec: corev1.ServiceSpec{
			Type:           corev1.ServiceTypeLoadBalancer,
			IPFamilyPolicy: &policy,
			IPFamilies:     families,
			LoadBalancerIP: RequestedIP(g),
			Selector:       Selector(g),
			Ports:          ports,
		},
	}
}

// ReservedPorts are those that the proxy itself listens on: no listener of a Gateway can have one.
var ReservedPorts = []gwv1.PortNumber{AdminPort, ReadyPort, StatsPort}

// served are the protocols of listeners that Weft serves.
var served = []gwv1.ProtocolType{gwv1.HTTPProtocolType, gwv1.HTTPSProtocolType, gwv1.TLSProtocolType, gwv1.TCPProtocolType, gwv1.UDPProtocolType}

// Port is one that a listener asks for.
type Port struct {
	Number   gwv1.PortNumber
	Protocol gwv1.ProtocolType
}

// servicePorts are the distinct ports of the listeners that Weft serves, each named after the
// protocol of the first listener on it. A port of UDP is another than that of TCP with its number.
func servicePorts(in Input) (ports []corev1.ServicePort) {
	type at struct {
		protocol corev1.Protocol
		port     int32
	}
	seen := map[at]bool{}
	var listeners []Port
	for _, l := range in.Gateway.Spec.Listeners {
		listeners = append(listeners, Port{l.Port, l.Protocol})
	}
	for _, l := range append(listeners, in.SetPorts...) {
		port, protocol := int32(l.Number), corev1.ProtocolTCP
		if l.Protocol == gwv1.UDPProtocolType {
			protocol = corev1.ProtocolUDP
		}
		if !slices.Contains(served, l.Protocol) || seen[at{protocol, port}] || slices.Contains(ReservedPorts, l.Number) {
			continue
		}
		seen[at{protocol, port}] = true
		ports = append(ports, corev1.ServicePort{
			Name:       fmt.Sprintf("%s-%d", strings.ToLower(string(l.Protocol)), port),
			Protocol:   protocol,
			Port:       port,
			TargetPort: intstr.FromInt32(port),
		})
	}
	return ports
}

// RequestedIP is the address that a Gateway's Service asks for: the API of Services has room for one, the
// first that the Gateway names. Empty: any.
func RequestedIP(g *gwv1.Gateway) string {
	for _, a := range g.Spec.Addresses {
		if isIP(a) && a.Value != "" {
			return a.Value
		}
	}
	return ""
}

func isIP(a gwv1.GatewaySpecAddress) bool { return a.Type == nil || *a.Type == gwv1.IPAddressType }

// requestedFamily is that of all addresses that a Gateway asks for, none of any value among them: it shall
// have no other, and load balancers give no address of one family to a Service of two. Nil: any.
func requestedFamily(g *gwv1.Gateway) (families []corev1.IPFamily) {
	for _, a := range g.Spec.Addresses {
		if !isIP(a) {
			continue
		}
		ip, err := netip.ParseAddr(a.Value)
		if err != nil {
			return nil
		}
		family := corev1.IPv6Protocol
		if ip.Is4() {
			family = corev1.IPv4Protocol
		}
		if len(families) > 0 && families[0] != family {
			return nil
		}
		families = []corev1.IPFamily{family}
	}
	return families
}

func disruptionBudget(g *gwv1.Gateway) *policyv1.PodDisruptionBudget {
	one := intstr.FromInt32(1)
	always := policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(g),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             &one,
			UnhealthyPodEvictionPolicy: &always,
			Selector:                   &metav1.LabelSelector{MatchLabels: Selector(g)},
		},
	}
}
