// Command adsload opens N delta ADS streams on an xDS server, acknowledges everything,
// follows EDS and RDS names as Envoy does, and reports how long a change takes to reach
// the first and the last stream, the bytes that it costs, and the CPU time and memory of
// the server process.
//
// It knows nothing of the server: address, node, types, token, the trigger of a change
// and the text by which the change is known on the wire are flags. A stream counts when
// the bytes of the change arrive on it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// {i} in a pattern is the stream's index, {ip} an address made of it, {ns} the index
// divided by -ns-div; {iter} is the number of the change and {ipmark} an address made of it.
var (
	addr       = flag.String("addr", "127.0.0.1:15010", "ADS address")
	streams    = flag.Int("n", 100, "streams, one TCP connection each")
	nodeID     = flag.String("node-id", "sidecar~{ip}~pod-{i}.default~default.svc.cluster.local", "node id pattern")
	nodeMeta   = flag.String("metadata", "", "node metadata as JSON, a pattern, or @FILE")
	token      = flag.String("token", "", "bearer token pattern")
	nsDiv      = flag.Int("ns-div", 1<<30, "streams per {ns}")
	types      = flag.String("types", "cds,eds,lds,rds", "types to subscribe to, short names or type URLs; eds and rds follow what cds and lds name")
	tlsCA      = flag.String("tls-ca", "", "roots; without them the connection is plaintext")
	tlsName    = flag.String("tls-server-name", "", "expected server name")
	settle     = flag.Duration("settle", 500*time.Millisecond, "quiet time that ends a phase")
	timeout    = flag.Duration("timeout", 180*time.Second, "limit of a phase")
	iters      = flag.Int("iters", 5, "changes that count")
	warm       = flag.Int("warmup", 1, "changes before those")
	trigger    = flag.String("trigger-http", "", "URL pattern to POST for a change; it may answer with the time of its begin in Unix ns")
	markerText = flag.String("marker", "", "pattern of the text that is the change on the wire")
	markerType = flag.String("marker-type", "", "type in which to look for it")
	pid        = flag.Int("pid", 0, "server process")
	out        = flag.String("json", "", "append one JSON object per phase to this file")
	expect     = flag.Int("expect", -1, "streams that see the change; -1: all")
)

const typePrefix = "type.googleapis.com/"

var shortTypes = map[string]string{
	"cds": typePrefix + "envoy.config.cluster.v3.Cluster",
	"eds": typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment",
	"lds": typePrefix + "envoy.config.listener.v3.Listener",
	"rds": typePrefix + "envoy.config.route.v3.RouteConfiguration",
	"sds": typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret",
}

func long(typ string) string {
	if url, ok := shortTypes[typ]; ok {
		return url
	}
	return typ
}

func expand(p string, i int) string {
	return strings.NewReplacer("{i}", strconv.Itoa(i), "{ns}", strconv.Itoa(i / *nsDiv),
		"{ip}", fmt.Sprintf("10.%d.%d.%d", 1+i>>16&255, i>>8&255, i&255)).Replace(p)
}

func expandChange(p string, n int) string {
	return strings.NewReplacer("{iter}", strconv.Itoa(n), "{ipmark}", fmt.Sprintf("10.250.%d.%d", n>>8&255, n&255)).Replace(p)
}

func dialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if *tlsCA != "" {
		pem, err := os.ReadFile(*tlsCA)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		creds = credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: *tlsName, MinVersion: tls.VersionTLS13})
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithReadBufferSize(8 << 10), grpc.WithWriteBufferSize(4 << 10),
		grpc.WithInitialWindowSize(64 << 20), grpc.WithInitialConnWindowSize(64 << 20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1 << 30)),
		grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
	}
}

func node(i int) *core.Node {
	n := &core.Node{Id: expand(*nodeID, i), UserAgentName: "envoy"}
	if *nodeMeta != "" {
		n.Metadata = &structpb.Struct{}
		if err := protojson.Unmarshal([]byte(expand(*nodeMeta, i)), n.Metadata); err != nil {
			log.Fatalf("metadata: %v", err)
		}
	}
	return n
}

// connect opens all streams, 64 at a time, and keeps them open.
func connect(ctx context.Context, closing *atomic.Bool) {
	opts, seats := dialOptions(), make(chan struct{}, 64)
	for i := range *streams {
		seats <- struct{}{}
		go func() {
			c := newClient(i, func() { ready.Add(1); <-seats })
			for !closing.Load() {
				if err := c.connect(ctx, opts); !closing.Load() {
					failures.Add(1)
					log.Printf("stream %d: %v", i, err)
					time.Sleep(200 * time.Millisecond)
					c.restart()
				}
			}
		}()
	}
}

func (c *client) connect(ctx context.Context, opts []grpc.DialOption) error {
	cc, err := grpc.NewClient("passthrough:///"+*addr, opts...)
	if err != nil {
		return err
	}
	defer cc.Close()
	if *token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+expand(*token, c.index))
	}
	return c.run(ctx, cc)
}

func main() {
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	debug.SetGCPercent(400)
	if path, ok := strings.CutPrefix(*nodeMeta, "@"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		*nodeMeta = string(b)
	}
	*markerType = long(*markerType)
	var closing atomic.Bool
	ctx, cancel := context.WithCancel(context.Background())
	measureConnect(func() { connect(ctx, &closing) })
	if *trigger != "" {
		measureChanges()
	}
	closing.Store(true)
	cancel()
}
