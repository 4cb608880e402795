package hosts_test

import (
	"strconv"
	"sync"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/xds"
)

// ads serves one Envoy by the delta protocol in the plainest way, the same for every way
// under measurement: what a proxy subscribes to, and each change at once.
type ads struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	tb testing.TB

	mu     sync.Mutex
	served map[string]map[string]*discovery.Resource // by type, then by name
	out    chan *discovery.DeltaDiscoveryResponse
	nonce  int
	acked  int // the newest nonce that Envoy has acknowledged
}

func newADS(tb testing.TB) *ads {
	return &ads{tb: tb, served: map[string]map[string]*discovery.Resource{}, out: make(chan *discovery.DeltaDiscoveryResponse, 1000)}
}

// put makes a message part of what is served, without sending it.
func (s *ads) put(name string, m proto.Message) *discovery.Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := xds.Marshal(name, m)
	url := r.Resource.TypeUrl
	if s.served[url] == nil {
		s.served[url] = map[string]*discovery.Resource{}
	}
	s.served[url][name] = r
	return r
}

// change sends a message, new or changed, and returns the nonce of its response.
func (s *ads) change(name string, m proto.Message) int {
	r := s.put(name, m)
	return s.send(r.Resource.TypeUrl, []*discovery.Resource{r})
}

func (s *ads) send(typeURL string, resources []*discovery.Resource) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce++
	s.out <- &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, Resources: resources, Nonce: strconv.Itoa(s.nonce)}
	return s.nonce
}

// took reports whether Envoy has applied the response with that nonce.
func (s *ads) took(nonce int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked >= nonce
}

func (s *ads) DeltaAggregatedResources(st discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	go func() {
		for {
			select {
			case <-st.Context().Done():
				return
			case r := <-s.out:
				_ = st.Send(r) // the end of the stream shows in Recv
			}
		}
	}()
	seen := map[string]bool{}
	for {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		if req.ErrorDetail != nil {
			s.tb.Errorf("Envoy refused %s: %s", req.TypeUrl, req.ErrorDetail.Message)
		}
		s.acknowledge(req.ResponseNonce)
		if !seen[req.TypeUrl] || len(req.ResourceNamesSubscribe) > 0 {
			s.send(req.TypeUrl, s.asked(req))
		}
		seen[req.TypeUrl] = true
	}
}

func (s *ads) acknowledge(nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := strconv.Atoi(nonce); err == nil {
		s.acked = max(s.acked, n)
	}
}

// asked is what a request subscribes to: by name, or everything of the type.
func (s *ads) asked(req *discovery.DeltaDiscoveryRequest) (found []*discovery.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.served[req.TypeUrl]
	for _, name := range req.ResourceNamesSubscribe {
		if r := all[name]; r != nil {
			found = append(found, r)
		}
	}
	if len(found) > 0 {
		return found
	}
	for _, r := range all {
		found = append(found, r)
	}
	return found
}
