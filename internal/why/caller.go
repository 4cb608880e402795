package why

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// Source is who calls, as it is written.
type Source struct {
	kind string // account, pod, ip, gateway, spiffe or nobody
	name string // the key, the address or the SPIFFE ID
}

// The kinds.
const (
	ofAccount = "account"
	ofPod     = "pod"
	ofIP      = "ip"
	ofGateway = "gateway"
	ofSPIFFE  = "spiffe"
	ofNobody  = "nobody"
)

const sourceForms = "write namespace/serviceaccount, pod/namespace/name, gateway/namespace/name, an IP address, a SPIFFE ID, or - for a caller of whom nothing is known"

// ParseSource reads SRC.
func ParseSource(text string) (Source, error) {
	parts := strings.Split(text, "/")
	address, ip := netip.ParseAddr(text)
	switch {
	case text == "-":
		return Source{kind: ofNobody}, nil
	case ip == nil && address.Zone() == "":
		return Source{ofIP, address.Unmap().String()}, nil
	case strings.HasPrefix(text, "spiffe://"):
		if _, ok := opa.SourceOf(text); !ok {
			return Source{}, fmt.Errorf("SRC %q: a SPIFFE ID of a ServiceAccount is spiffe://<trust domain>/ns/<namespace>/sa/<name>", text)
		}
		return Source{ofSPIFFE, text}, nil
	case len(parts) == 3 && (parts[0] == ofPod || parts[0] == ofGateway) && parts[1] != "" && parts[2] != "":
		return Source{parts[0], parts[1] + "/" + parts[2]}, nil
	case len(parts) == 2 && parts[0] != "" && parts[1] != "":
		return Source{ofAccount, text}, nil
	}
	return Source{}, fmt.Errorf("SRC %q: %s", text, sourceForms)
}

// caller is who calls, as the proxy that is called knows it.
type caller struct {
	opa.Source        // of its certificate; without a Principal it calls in plaintext
	name       string // as messages call it
	notes      []string
}

// find finds who a Source is. The address is one that is given, or "".
func (s Source) find(m *mesh.Mesh, address string) (c caller, err error) {
	domain := m.Surroundings("").TrustDomain
	proved := func(account string) opa.Source {
		namespace, name, _ := strings.Cut(account, "/")
		out, _ := opa.SourceOf(mesh.SPIFFEID(domain, namespace, name))
		return out
	}
	switch s.kind {
	case ofAccount:
		c = caller{Source: proved(s.name), name: "ServiceAccount " + s.name}
		c.notes = known(m, s.name)
	case ofGateway:
		account := m.Scope(nil, s.name)
		if account == "" {
			return c, fmt.Errorf("there is no Gateway %s of a class that Weft serves: name another, or look whether the namespace is right", s.name)
		}
		c = caller{Source: proved(account), name: "Gateway " + s.name}
	case ofSPIFFE:
		c.name = s.name
		c.Source, _ = opa.SourceOf(s.name)
	case ofIP:
		c.name = s.name
		if pods := m.PodsAt.Get(nil, s.name); len(pods) > 0 {
			if c, err = (Source{ofPod, pods[0]}).find(m, s.name); err == nil {
				c.notes = append(c.notes, fmt.Sprintf("%s is the address of pod %s", s.name, pods[0]))
			}
			return c, err
		}
		c.IP = s.name
	case ofPod:
		pod, ok := m.Pods.Get(nil, s.name)
		if !ok {
			return c, fmt.Errorf("there is no pod %s: name another, or look whether the namespace is right", s.name)
		}
		c.name = "pod " + s.name
		if sidecar.Meshed(pod) {
			c.Source = proved(pod.Namespace + "/" + pod.Spec.ServiceAccountName)
		} else {
			c.notes = append(c.notes, fmt.Sprintf("pod %s is not in the mesh: it calls in plaintext, and nobody knows who it is", s.name))
		}
		if c.IP = pod.Status.PodIP; len(pod.Status.PodIPs) > 0 {
			c.IP = pod.Status.PodIPs[0].IP
		}
	default:
		c.name = "somebody outside the mesh"
	}
	if address != "" {
		c.IP = address
	}
	return c, nil
}

// known says so if a ServiceAccount is that of no pod in the mesh.
func known(m *mesh.Mesh, account string) []string {
	if len(m.PodAccounts.Get(nil, account)) > 0 || len(m.GatewayAccounts.Get(nil, account)) > 0 {
		return nil
	}
	return []string{fmt.Sprintf("no pod in the mesh runs as ServiceAccount %s: look whether its namespace and name are right", account)}
}
