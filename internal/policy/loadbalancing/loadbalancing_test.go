package loadbalancing

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	weightedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// TestCluster: what each section makes of a Cluster's own fields.
func TestCluster(t *testing.T) {
	for section, want := range map[string]string{
		"{panicThreshold: 0}":                               `{commonLbConfig: {healthyPanicThreshold: {}}, lbPolicy: LEAST_REQUEST}`,
		"{algorithm: Random}":                               `{lbPolicy: RANDOM}`,
		"{algorithm: RoundRobin}":                           `{lbPolicy: ROUND_ROBIN}`,
		"{algorithm: LeastRequest, choices: 5}":             `{lbPolicy: LEAST_REQUEST, leastRequestLbConfig: {choiceCount: 5}}`,
		"{algorithm: RoundRobin, slowStart: {window: 10s}}": `{lbPolicy: ROUND_ROBIN, roundRobinLbConfig: {slowStartConfig: {slowStartWindow: 10s}}}`,
		`{slowStart: {window: 1m, aggression: "0.5", minimumShare: 20}}`: `{lbPolicy: LEAST_REQUEST, leastRequestLbConfig: {slowStartConfig: {slowStartWindow: 60s,
			aggression: {defaultValue: 0.5, runtimeKey: weft.slow_start_aggression}, minWeightPercent: {value: 20}}}}`,
	} {
		got := &clusterv3.Cluster{}
		balance(roomtest.Written[v1alpha1.LoadBalancing](t, section), got)
		expect(t, section, got, &clusterv3.Cluster{}, want)
	}
}

// TestExtensions: what is only in an extension.
func TestExtensions(t *testing.T) {
	extension := func(section string, into proto.Message) proto.Message {
		c := &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_LEAST_REQUEST}
		balance(roomtest.Written[v1alpha1.LoadBalancing](t, section), c)
		if c.LbPolicy != clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG {
			t.Errorf("%s: %s", section, c.LbPolicy)
		}
		if err := c.LoadBalancingPolicy.Policies[0].TypedExtensionConfig.TypedConfig.UnmarshalTo(into); err != nil {
			t.Fatalf("%s: %v", section, err)
		}
		return into
	}
	ring := `{algorithm: RingHash, ringSize: 5000, hash: [{type: QueryParameter, name: id}, {type: Cookie, name: a}, {type: Cookie, name: b, ttl: 100ms, path: /shop}]}`
	expect(t, ring, extension(ring, &ringhashv3.RingHash{}), &ringhashv3.RingHash{}, `{minimumRingSize: 5000, consistentHashingLbConfig: {hashPolicy: [
		{terminal: true, queryParameter: {name: id}}, {terminal: true, cookie: {name: a}}, {terminal: true, cookie: {name: b, path: /shop, ttl: 1s}}]}}`)
	weighted := `{algorithm: ClientSideWeighted, slowStart: {window: 10s}, clientSideWeighted: {metrics: [named_metrics.queue], blackout: 0s, expiration: 1m, update: 2s, errorPenalty: 250}}`
	expect(t, weighted, extension(weighted, &weightedv3.ClientSideWeightedRoundRobin{}), &weightedv3.ClientSideWeightedRoundRobin{}, `{slowStartConfig: {slowStartWindow: 10s},
		metricNamesForComputingUtilization: [named_metrics.queue], blackoutPeriod: 0s, weightExpirationPeriod: 60s, weightUpdatePeriod: 2s, errorUtilizationPenalty: 2.5}`)
}

func expect(t *testing.T, section string, got, want proto.Message, text string) {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = protojson.Unmarshal(body, want)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("%s: %v; want %v", section, got, want)
	}
}

// TestPanicThresholdIsAdded: what else a Cluster has in common for all algorithms stays.
func TestPanicThresholdIsAdded(t *testing.T) {
	c := &clusterv3.Cluster{CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{IgnoreNewHostsUntilFirstHc: true}}
	balance(roomtest.Written[v1alpha1.LoadBalancing](t, "{panicThreshold: 20}"), c)
	if !c.CommonLbConfig.IgnoreNewHostsUntilFirstHc || c.CommonLbConfig.HealthyPanicThreshold.GetValue() != 20 {
		t.Errorf("%v", c.CommonLbConfig)
	}
}

// TestOnlyRequests: a hash means something to TCP if it ends with the source.
func TestOnlyRequests(t *testing.T) {
	for section, want := range map[string]bool{
		"{panicThreshold: 0}": false, "{algorithm: Random}": false, "{algorithm: ClientSideWeighted}": true,
		"{algorithm: Maglev, hash: [{type: Header, name: a}]}":                     true,
		"{algorithm: RingHash, hash: [{type: Header, name: a}, {type: SourceIP}]}": false,
	} {
		if got := fits(roomtest.Written[v1alpha1.LoadBalancing](t, section), "tcp"); got == want {
			t.Errorf("%s: means something to TCP: %v", section, got)
		}
	}
}
