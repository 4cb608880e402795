package xds

import (
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// FuzzRequests gives a stream any requests at all, each length-prefixed by one byte. Whatever
// they are, the stream never speaks of what its scope does not show, and never of one name
// twice in a response.
func FuzzRequests(f *testing.F) {
	for _, requests := range [][]*discovery.DeltaDiscoveryRequest{
		{{TypeUrl: ClusterType}, {TypeUrl: EndpointType, ResourceNamesSubscribe: []string{"a", "a", "*"}}},
		{{TypeUrl: VirtualHostType, InitialResourceVersions: map[string]string{"r/x": "0", "gone": "1"}}, {TypeUrl: RouteType, ResourceNamesSubscribe: []string{"r"}}},
		{{TypeUrl: ListenerType}, {TypeUrl: ListenerType, ResponseNonce: "1", ErrorDetail: &status.Status{Message: "no"}}},
		{{TypeUrl: SecretType, ResourceNamesSubscribe: []string{"api", "/"}, ResourceNamesUnsubscribe: []string{"api", "*"}}},
		{{TypeUrl: "?"}, {TypeUrl: RouteType, ResponseNonce: "-1"}},
	} {
		var seed []byte
		for _, r := range requests {
			b, err := proto.Marshal(r)
			if err != nil || len(b) > 255 {
				f.Fatalf("seed of %d bytes: %v", len(b), err)
			}
			seed = append(append(seed, byte(len(b))), b...)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := shop()
		commit(s, put(SecretType, "api", "1"), see("api", SecretType, "api"))
		p := &proxy{store: s, read: s.attach("web"), maxNames: 100, fact: NewFacts().add(Proxy{}, func(Refusal) {})}
		for step := 0; len(body) > 0; step++ {
			n := min(int(body[0]), len(body)-1)
			var req discovery.DeltaDiscoveryRequest
			if err := proto.Unmarshal(body[1:1+n], &req); err != nil {
				return
			}
			body = body[1+n:]
			if _, err := p.take(&req); err != nil {
				return
			}
			out, _ := p.plan()
			for _, r := range out {
				decent(t, s, r)
			}
			p.acknowledge()
			commit(s, put(VirtualHostType, "r/x", string(rune('2'+step%3))), put(SecretType, "api", string(rune('2'+step%3))))
		}
	})
}

func decent(t *testing.T, s *Store, r *response) {
	spoken := map[string]bool{}
	for _, it := range r.add {
		if spoken[it.name] || s.scopes["web"].item(r.kind, it.name) == nil {
			t.Errorf("%s %s is sent twice, or is out of scope", typeURLs[r.kind], it.name)
		}
		spoken[it.name] = true
	}
	for _, name := range r.gone {
		if spoken[name] {
			t.Errorf("%s %s is spoken of twice", typeURLs[r.kind], name)
		}
		spoken[name] = true
	}
}
