package main

import (
	"fmt"
	"hash/maphash"
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// rawCodec leaves responses undecoded: with thousands of streams in one client
// process, decoding every resource would measure the client, not the server.
type rawCodec struct{}

type rawMsg struct {
	b   []byte
	buf mem.Buffer
}

func (m *rawMsg) free() {
	if m.buf != nil {
		m.buf.Free()
	}
}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m := v.(*rawMsg)
	m.buf = data.MaterializeToBuffer(mem.DefaultBufferPool())
	m.b = m.buf.ReadOnlyData()
	return nil
}

type response struct {
	typ, nonce string
	resources  [][]byte // their bodies
	removed    []string
}

// parseResponse reads a DeltaDiscoveryResponse.
func parseResponse(b []byte) (r response, err error) {
	err = fields(b, func(num protowire.Number, v []byte) error {
		switch num {
		case 2:
			resource, err := field(v, 2)
			if err != nil {
				return err
			}
			body, err := field(resource, 2)
			r.resources = append(r.resources, body)
			return err
		case 4:
			r.typ = string(v)
		case 5:
			r.nonce = string(v)
		case 6:
			r.removed = append(r.removed, string(v))
		}
		return nil
	})
	return r, err
}

// field is the last length-delimited field of that number.
func field(b []byte, want protowire.Number) (value []byte, err error) {
	err = fields(b, func(num protowire.Number, v []byte) error {
		if num == want {
			value = v
		}
		return nil
	})
	return value, err
}

// fields visits the length-delimited fields of a message.
func fields(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("bad tag: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return fmt.Errorf("bad bytes: %v", protowire.ParseError(n))
			}
			if err := f(num, v); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return fmt.Errorf("bad field: %v", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return nil
}

// Names found in a resource are cached by content hash: all streams get nearly
// the same resources, so each distinct body is decoded once.
var (
	seed   = maphash.MakeSeed()
	edsC   sync.Map // uint64 -> string
	rdsC   sync.Map // uint64 -> []string
	intern sync.Map // string -> string
)

func keep(s string) string {
	v, _ := intern.LoadOrStore(s, s)
	return v.(string)
}

func edsName(b []byte) string {
	h := maphash.Bytes(seed, b)
	if v, ok := edsC.Load(h); ok {
		return v.(string)
	}
	name := ""
	var c cluster.Cluster
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &c); err == nil && c.GetType() == cluster.Cluster_EDS {
		if name = c.GetEdsClusterConfig().GetServiceName(); name == "" {
			name = c.Name
		}
		name = keep(name)
	}
	edsC.Store(h, name)
	return name
}

func rdsNames(b []byte) []string {
	h := maphash.Bytes(seed, b)
	if v, ok := rdsC.Load(h); ok {
		return v.([]string)
	}
	var names []string
	var l listener.Listener
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &l); err == nil {
		chains := l.FilterChains
		if l.DefaultFilterChain != nil {
			chains = append(chains, l.DefaultFilterChain)
		}
		for _, fc := range chains {
			for _, f := range fc.Filters {
				var h hcm.HttpConnectionManager
				if f.GetTypedConfig().MessageIs(&h) && f.GetTypedConfig().UnmarshalTo(&h) == nil && h.GetRds() != nil {
					names = append(names, keep(h.GetRds().RouteConfigName))
				}
			}
		}
	}
	rdsC.Store(h, names)
	return names
}
