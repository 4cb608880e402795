package envoy

import (
	"slices"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/wire"
)

// ofProxy are the statistics of a proxy itself, and its golden signals. How many there are does not
// grow with the number of Services that it knows.
var ofProxy = []string{
	signalPrefix + `\..+`,
	`server\.(live|state|uptime|memory_allocated|memory_heap_size|days_until_first_cert_expiring|total_connections)`,
	`control_plane\.connected_state`,
	`cluster\.xds\.upstream_cx_[rt]x_bytes_total`,
	`(cluster_manager\.cds|listener_manager\.lds)\.update_(success|rejected)`,
	`listener_manager\.(total_listeners_(active|warming|draining)|listener_create_failure)`,
	`overload\..+\.(active|pressure)`,
	ofPolicies,
	`cluster\..+\.ratelimit\.(error|failure_mode_allowed)`,
	`http\..*\.(lua\..+\.errors|ext_proc\..+\.(streams_started|streams_failed|message_timeouts|failure_mode_allowed|rejected_header_mutations|immediate_responses_sent))`,
	`http\..+fault\.(active_faults|faults_overflow)`, // by the first Envoy bounds them
	`access_logs\.grpc_access_log\.logs_(written|dropped)`,
}

// ofExtension finds, in the name of a statistic, the policy and the name of an extension, and takes them out.
const ofExtension = `^http\..*\.(?:lua|ext_proc)\.((.+)\.)\w+$`

// ofPolicies are those of Clusters for which policies have endpoints looked at; no other Cluster has them.
const ofPolicies = `cluster\..+\.(outlier_detection\.ejections_(active|enforced_total|overflow)|health_check\.(healthy|attempt|failure))`

// ofGateway are those that a Gateway has besides, by Cluster and by port. All that Envoy has would
// double a Cluster's memory and give 17 kB of text for each.
var ofGateway = []string{
	`cluster\..+\.(upstream_rq_([1-5]xx|time|active|timeout|retry|retry_overflow|pending_overflow)|upstream_cx_(active|connect_fail)|membership_(total|healthy))`,
	`http\..+\.(downstream_rq_([1-5]xx|time|active|total)|downstream_cx_(active|total)|no_route)`,
	`udp\..+\.downstream_sess_(total|active|no_route|[rt]x_(bytes|errors))`,
	`cluster\.gateway/.+/udp\.upstream_cx_overflow`,
	`listener\..+\.(downstream_cx_active|downstream_cx_overflow|downstream_global_cx_overflow|ssl\.(handshake|connection_error|fail_.*))`,
	`sds\..+\.(update_success|update_rejected|key_rotation_failed)`,
}

// ofSidecar are those that a sidecar has besides. It has hundreds of listeners and Clusters, whose
// traffic the golden signals tell, but two secrets.
var ofSidecar = []string{
	`listener\.(\[__\]|0\.0\.0\.0)_15(001|006|007)\.(downstream_cx_active|downstream_cx_overflow|no_filter_chain_match|ssl\.(handshake|connection_error|fail_.*))`,
	`sds\.(identity|roots)\.(update_success|update_rejected|key_rotation_failed)`,
}

// durations are the upper bounds of the buckets of a request's duration, in milliseconds.
var durations = []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000}

func statsConfig(sidecar bool) *metricsv3.StatsConfig {
	kept := slices.Concat(ofProxy, ofGateway)
	if sidecar {
		kept = slices.Concat(ofProxy, ofSidecar)
	}
	inclusion := &matcherv3.ListStringMatcher{}
	for _, regex := range kept {
		inclusion.Patterns = append(inclusion.Patterns, wire.Regex(regex))
	}
	return &metricsv3.StatsConfig{
		StatsTags: []*metricsv3.TagSpecifier{{TagName: "weft_extension", TagValue: &metricsv3.TagSpecifier_Regex{Regex: ofExtension}}},
		StatsMatcher: &metricsv3.StatsMatcher{
			StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: inclusion},
		},
		HistogramBucketSettings: []*metricsv3.HistogramBucketSettings{{
			Match:   wire.Regex(signalPrefix + `\.request_duration_milliseconds.*`),
			Buckets: durations,
		}},
	}
}

// evictionInterval is how often series in which nothing happened since the last time go. One that
// comes back starts at 0, which Prometheus takes for a restart.
const evictionInterval = 15 * time.Minute

func statsEviction() *bootstrapv3.Bootstrap_StatsEvictionInterval {
	return &bootstrapv3.Bootstrap_StatsEvictionInterval{StatsEvictionInterval: durationpb.New(evictionInterval)}
}
