package metrics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of series, as the configuration that we ship has Prometheus store them.
const (
	requests  = "weft_requests_total"
	durations = "weft_request_duration_milliseconds_bucket"
	live      = "envoy_server_live"   // of each proxy that is scraped
	uptime    = "envoy_server_uptime" // in seconds
	listeners = "envoy_listener_downstream_cx_active"
)

// firstScrape is how old a proxy may be when Prometheus first sees it, that all it counted is taken to be
// new.
const firstScrape = 30 * time.Second

// anyProxy are the matchers of what the configuration of Weft scrapes.
const anyProxy = `{workload_kind!=""}`

// Anybody asks whether there is any proxy at all that is scraped as it should be.
const Anybody = "group (" + live + anyProxy + ")"

// view is one way to look at requests: which series, and which labels name the other side.
type view struct {
	edge   Edge
	series func(r Request, metric string) string
	other  []string
}

var (
	received = view{Edge{Direction: From, Side: Server}, Request.received, nil}
	inbound  = view{Edge{Direction: From, Side: Server}, reported("destination"), []string{"source_workload_namespace", "source_workload"}}
	outbound = view{Edge{Direction: To, Side: Client}, reported("source"), []string{
		"destination_workload_namespace", "destination_workload", "destination_service_namespace", "destination_service_name"}}
)

func (r Request) views() []view {
	if r.Edges {
		return []view{inbound, outbound}
	}
	return []view{received}
}

// Queries are what to ask Prometheus, all for the same moment. The first is which resources are scraped.
func (r Request) Queries() []string {
	if r.Kind.Name == splits.Name {
		return r.splitQueries()
	}
	all := []string{fmt.Sprintf("group by (%s) (%s)", strings.Join(r.Kind.labels, ", "), latest(live+r.matching(), r.Window))}
	for _, v := range r.views() {
		names := slices.Concat(r.Kind.labels, v.other)
		all = append(all,
			sumBy(append(names, "response_code", "grpc_response_status"), v.series(r, requests)),
			sumBy(append(names, "le"), v.series(r, durations)))
	}
	return all
}

func sumBy(labels []string, of string) string {
	return fmt.Sprintf("sum by (%s) (%s)", strings.Join(labels, ", "), of)
}

// matching are the matchers of what belongs to the resources that are asked for.
func (r Request) matching(more ...string) string {
	matchers := more
	add := func(label, value string) { matchers = append(matchers, label+"="+strconv.Quote(value)) }
	if r.Namespace != "" {
		add("namespace", r.Namespace)
	}
	if r.Name != "" {
		add(r.Kind.labels[len(r.Kind.labels)-1], r.Name)
	}
	if r.Kind.isWorkload() {
		add("workload_kind", r.Kind.Kind)
	} else {
		matchers = append(matchers, `workload_kind!=""`)
	}
	return "{" + strings.Join(matchers, ",") + "}"
}

func reported(by string) func(Request, string) string {
	return func(r Request, metric string) string {
		return r.counted(metric+r.matching(`reporter="`+by+`"`), r.matching())
	}
}

// received is what sidecars passed to their apps, and what came to Gateways, which have no other side.
func (r Request) received(metric string) string {
	sidecars := listeners + r.matching(`envoy_listener_address=~".+_15006"`)
	return fmt.Sprintf("%s or (%s unless on (namespace, pod) %s)",
		reported("destination")(r, metric), reported("source")(r, metric), latest(sidecars, r.Window))
}

// counted is by how much each series has grown, to the request: increase() would extrapolate, and pass
// over what came before the first scrape of a series. A series that was not there when the window began
// has grown by all it holds, if its proxy was there and scraped, or is new too; and one that starts anew
// by what it holds since. Proxies are the matchers of those that the series are of.
func (r Request) counted(series, proxies string) string {
	ago := "offset " + seconds(r.Window)
	now := latest(series, r.Window)
	watched := fmt.Sprintf("(%s %s or %s < %d)", live+proxies, ago, uptime+proxies, int((r.Window + firstScrape).Seconds()))
	return fmt.Sprintf("(%s - %s %s >= 0 or %s and on (namespace, pod) %s)", now, series, ago, now, watched)
}

// latest has the last value of those too that have gone in the window.
func latest(series string, window time.Duration) string {
	return fmt.Sprintf("(%s or last_over_time(%s[%s]))", series, series, seconds(window))
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + "s" }
