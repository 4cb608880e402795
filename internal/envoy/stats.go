package envoy

import (
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// kept are the statistics that a proxy has. All of them would double a Cluster's memory and give
// 17 kB of text for each.
var kept = []string{
	`server\.(live|state|uptime|memory_allocated|memory_heap_size|days_until_first_cert_expiring|total_connections)`,
	`control_plane\.connected_state`,
	`cluster\.xds\.upstream_cx_[rt]x_bytes_total`,
	`(cluster_manager\.cds|listener_manager\.lds)\.update_(success|rejected)`,
	`listener_manager\.(total_listeners_(active|warming|draining)|listener_create_failure)`,
	`cluster\..+\.(upstream_rq_([1-5]xx|time|active|timeout|retry|retry_overflow|pending_overflow)|upstream_cx_(active|connect_fail)|membership_(total|healthy))`,
	`http\..+\.(downstream_rq_([1-5]xx|time|active|total)|downstream_cx_(active|total)|no_route)`,
	`listener\..+\.(downstream_cx_active|downstream_cx_overflow|downstream_global_cx_overflow|ssl\.(handshake|connection_error|fail_.*))`,
	`overload\..+\.(active|pressure)`,
	`sds\..+\.(update_success|update_rejected|key_rotation_failed)`,
}

func statsConfig() *metricsv3.StatsConfig {
	inclusion := &matcherv3.ListStringMatcher{}
	for _, regex := range kept {
		inclusion.Patterns = append(inclusion.Patterns, matching(regex))
	}
	return &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{
		StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: inclusion},
	}}
}
