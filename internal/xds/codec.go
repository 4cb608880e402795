package xds

import (
	"fmt"
	"strconv"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// response is a DeltaDiscoveryResponse whose resources are already marshalled.
type response struct {
	kind  kind
	nonce uint64
	rev   uint64
	add   []*item
	gone  []string
	// restores says that it has the proxy go back from what it has refused.
	restores bool
}

// Field numbers of DeltaDiscoveryResponse.
const (
	fieldSystemVersion = 1
	fieldTypeURL       = 4
	fieldNonce         = 5
	fieldRemoved       = 6
)

// codec sends responses without copying the resources that all streams share.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*response)
	if !ok {
		return nil, fmt.Errorf("marshal %T: only responses are sent", v)
	}
	return r.frames(), nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	req, ok := v.(*discovery.DeltaDiscoveryRequest)
	if !ok {
		return fmt.Errorf("unmarshal %T: only requests are received", v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return proto.Unmarshal(buf.ReadOnlyData(), req)
}

func (r *response) frames() mem.BufferSlice {
	head := make([]byte, 0, 128)
	head = appendText(head, fieldSystemVersion, strconv.FormatUint(r.rev, 10))
	head = appendText(head, fieldTypeURL, typeURLs[r.kind])
	head = appendText(head, fieldNonce, strconv.FormatUint(r.nonce, 10))
	for _, n := range r.gone {
		head = appendText(head, fieldRemoved, n)
	}
	out := make(mem.BufferSlice, 1, 1+len(r.add))
	out[0] = mem.SliceBuffer(head)
	for _, it := range r.add {
		out = append(out, mem.SliceBuffer(it.frame))
	}
	return out
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}
