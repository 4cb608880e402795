package xds

import (
	"slices"
	"strings"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// talk is what a server and its proxies said to each other.
type talk struct {
	mu    sync.Mutex
	lines []string
}

func (t *talk) record(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &recorded{st, t})
}

type recorded struct {
	grpc.ServerStream
	talk *talk
}

func (r *recorded) SendMsg(m any) error {
	resp := m.(*response)
	whole := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURLs[resp.kind], RemovedResources: resp.gone}
	for _, it := range resp.add {
		whole.Resources = append(whole.Resources, &discovery.Resource{Name: it.name})
	}
	r.talk.say("< " + strings.ReplaceAll(text(whole), "@", ""))
	return r.ServerStream.SendMsg(m)
}

func (r *recorded) RecvMsg(m any) error {
	err := r.ServerStream.RecvMsg(m)
	if err == nil {
		r.talk.say(asked(m.(*discovery.DeltaDiscoveryRequest)))
	}
	return err
}

// asked says a request in short: "> Cluster *", "> ack Cluster", "> nack Cluster".
func asked(req *discovery.DeltaDiscoveryRequest) string {
	kind := req.TypeUrl[strings.LastIndex(req.TypeUrl, ".")+1:]
	switch {
	case req.ErrorDetail != nil:
		return "> nack " + kind
	case req.ResponseNonce != "" && len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) == 0:
		return "> ack " + kind
	}
	slices.Sort(req.ResourceNamesSubscribe)
	line := "> " + kind
	for _, n := range req.ResourceNamesSubscribe {
		line += " +" + n
	}
	for _, n := range req.ResourceNamesUnsubscribe {
		line += " -" + n
	}
	return line
}

func (t *talk) say(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

// take returns what was said since the last call.
func (t *talk) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	t.lines = nil
	return lines
}

// drop takes a line back.
func (t *talk) drop(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = slices.DeleteFunc(t.lines, func(l string) bool { return l == line })
}

// sent are the lines that the server said.
func sent(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "<") })
}
