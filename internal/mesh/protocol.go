package mesh

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Protocol is what a port speaks.
type Protocol string

// The protocols. Of an Undeclared port each connection's first bytes tell.
const (
	HTTP1      Protocol = "http1"
	HTTP2      Protocol = "http2" // cleartext, prior knowledge (h2c)
	TCP        Protocol = "tcp"
	TLS        Protocol = "tls" // the app's own
	UDP        Protocol = "udp"
	Undeclared Protocol = ""
)

// HTTP says whether a port is declared to speak HTTP.
func (p Protocol) HTTP() bool { return p == HTTP1 || p == HTTP2 }

// mayCarryHTTP says whether requests may come at a port: it is not declared to carry something else.
func (p Protocol) mayCarryHTTP() bool { return p.HTTP() || p == Undeclared }

// names give the protocol of an appProtocol (KEP-3726, IANA's names), and of the part of a port's
// name that precedes the first "-".
var names = map[string]Protocol{
	"http": HTTP1, "kubernetes.io/ws": HTTP1,
	"http2": HTTP2, "h2c": HTTP2, "grpc": HTTP2, "kubernetes.io/h2c": HTTP2,
	"https": TLS, "tls": TLS, "kubernetes.io/wss": TLS,
	"tcp": TCP, "mongo": TCP, "mysql": TCP, "postgres": TCP, "postgresql": TCP, "redis": TCP, "dns": TCP,
}

// declared is what a Service port says that it speaks.
func declared(p corev1.ServicePort) Protocol {
	if p.AppProtocol != nil {
		if known, is := names[strings.ToLower(*p.AppProtocol)]; is {
			return known
		}
	}
	name, _, _ := strings.Cut(p.Name, "-")
	return names[name]
}

// overTCP says whether a Service port carries TCP, the one that the mesh takes part in.
func overTCP(p corev1.ServicePort) bool { return transport(p) == corev1.ProtocolTCP }

// transport is what carries what a Service port speaks.
func transport(p corev1.ServicePort) corev1.Protocol { return cmp.Or(p.Protocol, corev1.ProtocolTCP) }
