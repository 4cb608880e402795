// Package pki says which certificates Weft wants.
package pki

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// IssuerAnnotation on a Gateway asks for certificates for its listeners. Its value names a
// cert-manager issuer, as ParseIssuer reads it.
const IssuerAnnotation = "mesh.weft.dev/issuer"

// Issuer names a cert-manager issuer: an Issuer in the namespace of what names it, or a
// ClusterIssuer.
type Issuer struct {
	Kind string // Issuer or ClusterIssuer
	Name string
}

// String is what ParseIssuer reads.
func (i Issuer) String() string { return i.Kind + "/" + i.Name }

// ParseIssuer reads "<name>" (an Issuer), "Issuer/<name>" or "ClusterIssuer/<name>". What is
// wrong with the value, and what to write instead, is the problem; "" is nothing.
func ParseIssuer(value string) (issuer Issuer, problem string) {
	kind, name, qualified := strings.Cut(value, "/")
	if !qualified {
		kind, name = "Issuer", value
	}
	switch {
	case kind != "Issuer" && kind != "ClusterIssuer":
		problem = fmt.Sprintf("%q is not a kind of issuer", clip(kind))
	case name == "":
		problem = "the issuer's name is missing"
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		problem = fmt.Sprintf("%q cannot be the name of an issuer", clip(name))
	default:
		return Issuer{kind, name}, ""
	}
	return Issuer{}, problem + ": write Issuer/<name>, ClusterIssuer/<name>, or <name> for an Issuer in the Gateway's namespace"
}

// clip keeps what people wrote short enough for a message about it.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
