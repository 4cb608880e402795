package envoy_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// known takes every token for the name of a ServiceAccount, which is its scope too.
type known struct{}

func (known) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	return xds.Identity{Namespace: "shop", ServiceAccount: token, Pod: token, Expires: time.Now().Add(time.Hour)}, nil
}

// station is a real Envoy as a sidecar, and what its operator tells it.
type station struct {
	*gateway
	store   *xds.Store
	account string
	admin   string
}

const operatorName = "weft-xds.weft-system.svc"

func startSidecar(t *testing.T, store *xds.Store, at string, operator mesh.Secret, account string) *station {
	t.Helper()
	ports := freePorts(t, 3)
	p := sample
	p.Sidecar, p.XDSAddress, p.XDSName = true, at, operatorName
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, account, operator.Chain)
	s := &station{run(t, bootstrap(t, p), 0), store, account, fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	s.ready = fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)
	return s
}

func (s *station) isReady() bool { return status(s.ready+envoy.ReadyPath) == 200 }

// knows waits until the proxy has been told of all that was committed before.
func (s *station) knows(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("mark-%d", s.store.Revision())
	mark := envoy.FixedCluster(mesh.Blackhole)
	mark.Name = name
	mark.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: []mesh.Endpoint{{Address: "127.0.0.1", Port: 1}}})
	commitTo(s.store, s.account, map[string]proto.Message{name: mark})
	eventually(t, "the proxy has taken the cluster "+name, func() bool {
		response, err := client.Get(s.admin + "/clusters")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return strings.Contains(string(text), name)
	})
}

func identitySecret(t *testing.T, id string) map[string]proto.Message {
	chain, key := signed(t, id)
	return map[string]proto.Message{mesh.IdentitySecret: envoy.Secret(mesh.Secret{Name: mesh.IdentitySecret, Chain: chain, Key: key})}
}

func rootsSecret() map[string]proto.Message {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	return map[string]proto.Message{mesh.RootsSecret: envoy.Roots(mesh.RootsSecret, ca)}
}

// received is the inbound listener of a pod whose port is the one that it listens on, as no connection
// is redirected to it here.
func received(port uint32) *listenerv3.Listener {
	l := envoy.Inbound(mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSStrict,
		Ports: []mesh.InboundPort{{Port: int32(port), Protocol: mesh.HTTP1, Mode: mesh.MTLSStrict, Service: "shop/cart", Of: 80}}})
	l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
	return l
}

// A sidecar whose issuer has not answered yet is not ready, and is as soon as it has.
func TestSidecarWaitsForItsIdentity(t *testing.T) {
	t.Parallel()
	operatorKey := keyPair(t, operatorName)
	store := xds.NewStore(nil)
	port := freePorts(t, 1)[0]
	commitTo(store, "cart", rootsSecret(), map[string]proto.Message{
		mesh.InboundListener: received(port),
		mesh.AppHTTP1:        envoy.FixedCluster(mesh.AppHTTP1),
	})
	s := startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "cart")
	s.knows(t)
	s.knows(t) // and it has heard the answer to what it asked after the first
	if s.isReady() {
		t.Fatal("ready without an identity")
	}
	commitTo(store, "cart", identitySecret(t, appID))
	eventually(t, "the sidecar is ready", s.isReady)
}
