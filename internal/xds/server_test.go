package xds

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// refused expects the stream to end with that code and reason.
func (s *stream) refused(code codes.Code, reason string) {
	s.t.Helper()
	err := s.end()
	if status.Code(err) != code || !strings.Contains(err.Error(), reason) {
		s.t.Errorf("ended with %v, want %s because %q", err, code, reason)
	}
}

func TestAuthentication(t *testing.T) {
	h := listen(t, shop(), func(o *Options) {
		o.Authenticator.(tokens)["late"] = Identity{Namespace: "shop", ServiceAccount: "web", Pod: "late", PodUID: "late", Expires: time.Now().Add(-time.Second)}
		o.Authenticator.(tokens)["stranger"] = pod("stranger", "")
	})
	h.open("forged-secret").refused(codes.Unauthenticated, "does not accept the token")
	h.open("").refused(codes.Unauthenticated, "no bearer token")
	h.open("late").refused(codes.Unauthenticated, "has expired")
	h.open("stranger").refused(codes.PermissionDenied, "pod shop/stranger is not in the mesh")
	h.open(strings.Repeat("x", maxToken+1)).refused(codes.Unauthenticated, "longer than")
	for _, line := range h.talk.take() {
		if strings.HasPrefix(line, "<") {
			t.Errorf("the server said %s", line)
		}
	}
	if err := h.open("forged-secret").end(); strings.Contains(err.Error(), "forged-secret") {
		t.Errorf("the token is in the answer: %v", err)
	}
}

func TestNoToken(t *testing.T) {
	h := listen(t, shop())
	for _, ctx := range []context.Context{context.Background(),
		metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer web-0", "authorization", "Bearer web-1"),
		metadata.AppendToOutgoingContext(context.Background(), "authorization", "Basic web-0")} {
		cc := h.dial(tls.VersionTLS13)
		defer cc.Close()
		w, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("got %v, want Unauthenticated", err)
		}
	}
}

// The scope is the token's, whatever the Node message claims.
func TestNodeIsNotBelieved(t *testing.T) {
	s := shop()
	commit(s, put(SecretType, "api", "1"), see("api", SecretType, "api"))
	f := listen(t, s).open("web-0")
	f.send(&discovery.DeltaDiscoveryRequest{TypeUrl: SecretType, ResourceNamesSubscribe: []string{"api"}, Node: &core.Node{Id: "api-0", Cluster: "api"}})
	f.quiet()
}

func TestTLS13Only(t *testing.T) {
	h := listen(t, shop())
	cc := h.dial(tls.VersionTLS12)
	defer cc.Close()
	w, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(context.Background())
	if err == nil {
		_, err = w.Recv()
	}
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v, want a refused handshake", err)
	}
}

// The certificate is asked for at each handshake.
func TestCertificateRotates(t *testing.T) {
	var h *harness
	other := certificate(t)
	rotated := false
	h = listen(t, shop(), func(o *Options) {
		first := o.Certificate
		o.Certificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if rotated {
				return other, nil
			}
			return first(hello)
		}
	})
	f := h.open("web-0")
	f.boot()
	f.quiet()
	rotated = true // nothing shakes hands now
	h.roots.AddCert(other.Leaf)
	g := h.open("web-1")
	g.boot()
	commit(h.store, put(EndpointType, "a", "2"))
	f.want("ClusterLoadAssignment +a@2")
	g.want("ClusterLoadAssignment +a@2")
}

func TestExpiryEndsTheStream(t *testing.T) {
	h := listen(t, shop(), func(o *Options) {
		brief := pod("brief", "web")
		brief.Expires = time.Now().Add(300 * time.Millisecond)
		o.Authenticator.(tokens)["brief"] = brief
	})
	h.open("brief").refused(codes.Unavailable, "token expired; reconnect")
	old := listen(t, shop(), func(o *Options) { o.Limits.StreamAge = 100 * time.Millisecond })
	old.open("web-0").refused(codes.Unavailable, "age limit; reconnect")
}

func TestLimits(t *testing.T) {
	h := listen(t, shop(), func(o *Options) {
		o.Limits = Limits{Streams: 3, StreamsPerPod: 2, Names: 10, Requests: 100, Burst: 20, Patience: 30}
	})
	a, b := h.open("web-0"), h.open("web-0")
	a.quiet()
	b.quiet()
	h.open("web-0").refused(codes.ResourceExhausted, "has its limit of 2 streams")
	h.open("web-1").quiet()
	h.open("api-0").refused(codes.ResourceExhausted, "its limit of 3 streams")
	var names []string
	for i := range 11 {
		names = append(names, fmt.Sprint(i))
	}
	b.subscribe(EndpointType, names...)
	b.refused(codes.ResourceExhausted, "the limit is 10")
	for range 100 { // slowed down at first, ended in the end; what it says after that is lost
		_ = a.wire.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: ClusterType})
	}
	a.refused(codes.ResourceExhausted, "too many requests")
	h.open("web-0").quiet() // what has ended does not count
}

func TestHugeRequest(t *testing.T) {
	h := listen(t, shop(), func(o *Options) { o.Limits.RequestBytes = 1 << 10 })
	f := h.open("web-0")
	f.subscribe(EndpointType, strings.Repeat("x", 2<<10))
	f.refused(codes.ResourceExhausted, "larger than max")
}

// A proxy whose scope is another one now connects again, the others stay.
func TestRescope(t *testing.T) {
	scopes := map[string]string{"web-0": "web", "web-1": "web"}
	h := listen(t, shop(), func(o *Options) {
		o.ScopeOf = func(i Identity) (string, bool) { s, ok := scopes[i.Pod]; return s, ok }
	})
	f, g := h.open("web-0"), h.open("web-1")
	f.boot()
	g.boot()
	f.quiet()
	g.quiet()
	scopes["web-0"], scopes["web-1"] = "web", "api" // nothing asks for a scope now
	h.Rescope(map[string]struct{}{"web-0": {}, "other": {}})
	h.Rescope(map[string]struct{}{"web-0": {}, "web-1": {}})
	g.refused(codes.Unavailable, "scope has changed; reconnect")
	f.quiet()
	again := h.open("web-1")
	again.resume(ClusterType, map[string]string{"a": "1"})
	again.want("Cluster")
	again.want("Cluster -a")
}

func TestStop(t *testing.T) {
	h := listen(t, shop())
	f := h.open("web-0")
	f.boot()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.Server.Stop(ctx)
	f.refused(codes.Unavailable, "the server is stopping; reconnect")
	if n := len(h.facts.All()); n != 0 {
		t.Errorf("facts of %d proxies are left", n)
	}
	if len(h.store.scopes["web"].readers) != 0 {
		t.Error("the stream still reads its scope")
	}
}
