package why

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/mesh"
)

// Destination is who is called, as it is written.
type Destination struct {
	kind string // service, pod or gateway
	name string // the key
	port string // a number or, of a Service, a name; "": the only one
}

const (
	toService = "service"
	toPod     = "pod"
	toGateway = "gateway"
)

const destinationForms = "write service/namespace/name:port or namespace/name:port, pod/namespace/name:port, or gateway/namespace/name with --host, and :port if it serves the host at several"

// ParseDestination reads DST.
func ParseDestination(text string) (Destination, error) {
	name, port, has := strings.Cut(text, ":")
	parts := strings.Split(name, "/")
	if len(parts) == 2 {
		parts = append([]string{toService}, parts...)
	}
	bad := fmt.Errorf("DST %q: %s", text, destinationForms)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" || has && port == "" {
		return Destination{}, bad
	}
	d := Destination{parts[0], parts[1] + "/" + parts[2], port}
	n, err := strconv.ParseUint(port, 10, 16)
	number := err == nil && n > 0
	switch d.kind {
	case toService:
		return d, nil
	case toPod:
		if !number {
			return Destination{}, fmt.Errorf("DST %q: a pod is called at a port, from 1 to 65535: write pod/namespace/name:port", text)
		}
		return d, nil
	case toGateway:
		if has && !number {
			return Destination{}, fmt.Errorf("DST %q: %q is no port of a Gateway: write a number from 1 to 65535, or leave it out", text, port)
		}
		return d, nil
	}
	return Destination{}, bad
}

// find finds who that is.
func (d Destination) find(m *mesh.Mesh, host string) ([]mesh.Called, error) {
	number, _ := strconv.ParseUint(d.port, 10, 16) // ParseDestination has looked at it
	switch d.kind {
	case toGateway:
		c, err := m.CalledGateway(d.name, int32(number), plainHost(host))
		return []mesh.Called{c}, err
	case toPod:
		c, err := m.CalledPod(d.name, int32(number))
		return []mesh.Called{c}, err
	}
	return m.CalledByService(d.name, d.port)
}

// plainHost is a host as listeners and routes have it.
func plainHost(authority string) string {
	host, _, _ := strings.Cut(strings.ToLower(authority), ":")
	return strings.TrimSuffix(host, ".")
}

// authority is the host that a call names where none is written.
func (d Destination) authority() string {
	_, name, _ := strings.Cut(d.name, "/")
	return name
}
