package xds

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The type URLs that are served.
const (
	ClusterType     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType    = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretType      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ListenerType    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	ExtensionType   = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	RouteType       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	VirtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
)

// kind is a type URL's place in the order of make before break: what is
// referred to goes out before what refers to it, and is removed after it.
type kind int

const (
	clusters kind = iota
	endpoints
	secrets
	listeners
	extensions
	routes
	virtualHosts
	kinds
)

var typeURLs = [kinds]string{ClusterType, EndpointType, SecretType, ListenerType, ExtensionType, RouteType, VirtualHostType}

// refers reports whether resources of this kind refer to clusters, endpoints or secrets.
func (k kind) refers() bool { return k >= listeners }

func kindOf(typeURL string) (kind, bool) {
	for k, url := range typeURLs {
		if url == typeURL {
			return kind(k), true
		}
	}
	return 0, false
}

// id is a Name of a type that is served.
type id struct {
	kind kind
	name string
}

func (i id) wire() Name { return Name{typeURLs[i.kind], i.name} }

// Name is what a resource is called on the wire.
type Name struct {
	Type string // type URL
	Name string
}

// String is short: the type without its package.
func (n Name) String() string { return n.Type[strings.LastIndexByte(n.Type, '.')+1:] + " " + n.Name }

// Variant tells apart the resources that different scopes see under one Name.
// The ordinary one is "".
type Variant string

// Resource is the key of one resource in a Store.
type Resource struct {
	Name
	Variant Variant
}

// Marshal packs a message as the resource of that name. Its bytes are
// deterministic and its version is a hash of them, so that every replica of the
// server, and the same server after a restart, gives it the same version.
// It panics when the message cannot be marshalled: it was built by Weft, so
// that is a defect and nothing a user wrote.
func Marshal(name string, m proto.Message) *discovery.Resource {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("marshal %s %s: %v", m.ProtoReflect().Descriptor().FullName(), name, err))
	}
	sum := sha256.Sum256(value)
	return &discovery.Resource{
		Name:     name,
		Version:  base64.RawURLEncoding.EncodeToString(sum[:15]),
		Resource: &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value},
	}
}

// item is a resource ready for the wire. Every stream sends the same frame.
type item struct {
	name, version string
	frame         []byte // the resource as field 2 of a DeltaDiscoveryResponse
	endpoints     string // of a cluster whose endpoints come by EDS: their name
}

func newItem(k kind, r *discovery.Resource) *item {
	if r == nil {
		return nil
	}
	const resources = 2 // field number
	size := proto.Size(r)
	frame := make([]byte, 0, protowire.SizeTag(resources)+protowire.SizeBytes(size))
	frame = protowire.AppendTag(frame, resources, protowire.BytesType)
	frame = protowire.AppendVarint(frame, uint64(size))
	frame, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(frame, r)
	if err != nil {
		panic(fmt.Sprintf("marshal %s %s: %v", typeURLs[k], r.Name, err))
	}
	it := &item{name: r.Name, version: r.Version, frame: frame}
	if k == clusters {
		it.endpoints = endpointsOf(r)
	}
	return it
}

// endpointsOf is the name by which a cluster asks for its endpoints, or "".
func endpointsOf(r *discovery.Resource) string {
	var c cluster.Cluster
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(r.GetResource().GetValue(), &c); err != nil || c.GetType() != cluster.Cluster_EDS {
		return ""
	}
	if n := c.GetEdsClusterConfig().GetServiceName(); n != "" {
		return n
	}
	return c.GetName()
}
