package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Proxy is what an Envoy, of a Gateway or beside a pod, must know before it hears from the operator.
type Proxy struct {
	XDSAddress   string         // host:port of the operator's xDS server
	XDSName      string         // the DNS name that its certificate must carry
	TokenSDSPath string         // file with what TokenFile returns, in a directory of its own
	RootsSDSPath string         // file with what RootsFile returns, in a directory of its own
	Runtime      map[string]any // Envoy runtime values that win over Weft's
	Memory       uint64         // the container's limit in bytes; 0: none
	DrainHeader  string         // name of the header that must carry DrainKey, in lower case
	DrainKey     string         // known to whoever may read the pod; empty: no draining on request
	Drain        time.Duration  // how long DrainPath keeps its caller waiting
	AdminPort    uint32         // on the loopback interface only
	ReadyPort    uint32         // answers ReadyPath and DrainPath
	StatsPort    uint32         // answers StatsPath
	Sidecar      bool           // it serves a pod, whose own calls must not end when it drains
}

// Bootstrap is a proxy's whole static configuration in JSON, for Envoy's --config-yaml. Equal
// proxies give equal bytes. It fails when XDSAddress is no host:port, or Runtime holds a value that
// JSON does not know.
func Bootstrap(p Proxy) ([]byte, error) {
	xds, err := xdsCluster(p)
	if err != nil {
		return nil, fmt.Errorf("xDS address %q: %w", p.XDSAddress, err)
	}
	runtime, err := runtimeLayers(p.Runtime)
	if err != nil {
		return nil, fmt.Errorf("runtime values: %w", err)
	}
	return plainJSON(&bootstrapv3.Bootstrap{
		Admin:            &bootstrapv3.Admin{Address: tcp("127.0.0.1", p.AdminPort)},
		DynamicResources: dynamicResources(p),
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters:  []*clusterv3.Cluster{xds, adminCluster(p.AdminPort)},
			Listeners: []*listenerv3.Listener{readyListener(p), statsListener(p)},
		},
		LayeredRuntime:  runtime,
		OverloadManager: overload(p.Memory),
		StatsConfig:     statsConfig(p.Sidecar),
		StatsEviction:   statsEviction(),
	})
}

// plainJSON is protojson without the spaces that it varies from build to build.
func plainJSON(m proto.Message) ([]byte, error) {
	loose, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, loose); err != nil {
		return nil, fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return tight.Bytes(), nil
}

// dynamicResources come over one delta stream. A proxy without its first answer waits: it must never
// report ready with nothing to serve.
func dynamicResources(p Proxy) *bootstrapv3.Bootstrap_DynamicResources {
	return &bootstrapv3.Bootstrap_DynamicResources{
		AdsConfig: &corev3.ApiConfigSource{
			ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
					ClusterName:      xdsClusterName,
					Authority:        p.XDSName,
					SkipEnvoyHeaders: true,
					RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
						BaseInterval: durationpb.New(reconnectMin),
						MaxInterval:  durationpb.New(reconnectMax),
					}},
				},
			}}},
		},
		CdsConfig: adsUntilAnswered(),
		LdsConfig: adsUntilAnswered(),
	}
}

// runtimeLayers never has Envoy's own limit on regular expressions, 100 instructions, refuse one that
// mesh.CheckRegex let pass.
func runtimeLayers(values map[string]any) (*bootstrapv3.LayeredRuntime, error) {
	own, err := structpb.NewStruct(map[string]any{
		"re2.max_program_size.error_level":                      1 << 20,
		"envoy.resource_limits.listener.ready.connection_limit": 1000,
		"envoy.resource_limits.listener.stats.connection_limit": 100,
	})
	if err != nil {
		return nil, err
	}
	users, err := structpb.NewStruct(values)
	if err != nil {
		return nil, err
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{Name: "weft", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: own}},
		{Name: "parameters", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: users}},
	}}, nil
}

func splitHostPort(address string) (string, uint32, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return host, uint32(port), err
}
