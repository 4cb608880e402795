package envoy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// trial is a policy in Shadow that would refuse what passes a filter, if it were enforced.
type trial struct {
	reporter
	section string                 // of the policy
	policy  string                 // its key
	pods    string                 // the SPIFFE ID of those that the proxy is of
	port    *statslogv3.Config_Tag // of the pod that is called; nil: none
	asked   []sidecar.Probe        // what it would not refuse
	more    []*statslogv3.Config_Tag
}

// tags are labels of a series, of which none is anybody's choice.
func (s trial) tags(to called) []*statslogv3.Config_Tag {
	out := append([]*statslogv3.Config_Tag{
		tag("reporter", string(s.reporter)),
		tag("section", s.section),
		tag("policy", s.policy),
		tag(string(s.reporter)+"_principal", s.pods),
	}, s.more...)
	if s.port != nil {
		out = append(out, s.port)
	}
	return append(out, to.tags()...)
}

// counter counts into one series, or one for each port that is known.
func (s trial) counter(to called, when *accesslogv3.AccessLogFilter) *accesslogv3.AccessLog {
	return signalLog(when, &statslogv3.Config{
		StatsScope: s.scope(to),
		Counters:   []*statslogv3.Config_Counter{count("shadow_denied_total", s.tags(to))},
	})
}

// podPort is the label of a pod's port. Where a chain is for any (0), who calls chooses it: only those that
// are known of the pods become series.
func podPort(port uint32, known []int32) *statslogv3.Config_Tag {
	const name, others = "pod_port", "other"
	if port != 0 {
		return tag(name, strconv.FormatUint(uint64(port), 10))
	}
	if len(known) == 0 {
		return tag(name, others)
	}
	list := &xdsmatcherv3.Matcher_MatcherList{}
	for _, k := range known {
		text := strconv.Itoa(int(k))
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{Predicate: tagValue(text), OnMatch: becomes(text)})
	}
	t := tag(name, "%DOWNSTREAM_LOCAL_PORT%")
	t.Rules = &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list}, OnNoMatch: becomes(others)}
	return t
}

// fields mark the lines of a log. Where probes pass too, none is marked.
func (s trial) fields() map[string]string {
	if len(s.asked) > 0 {
		return nil
	}
	return map[string]string{"shadow_section": s.section, "shadow_policy": s.policy, "shadow_rule": "", "shadow_result": denied}
}

// ofRequests has requests counted, when they end.
func (s trial) ofRequests(m *hcmv3.HttpConnectionManager, to called, t v1alpha1.Telemetry) {
	m.AccessLog = append(requestLogs(s.reporter, t, s.reporter != source, inTrial(denied, s.asked), s.fields()), httpSignals(s.reporter, to), s.counter(to, notAsked(s.asked)))
}

// ofConnections has connections counted, when they begin.
func (s trial) ofConnections(p *tcpproxyv3.TcpProxy, to called, t v1alpha1.Telemetry) {
	began := allOf(logTypes(accessdatav3.AccessLogType_TcpConnectionStart), notTo(s.asked))
	p.AccessLogOptions.FlushAccessLogOnStart = true
	p.AccessLog = append(append(s.connectionLogs(t), tcpSignals(s.reporter, to)...), s.counter(to, began))
}

func (s trial) connectionLogs(t v1alpha1.Telemetry) []*accesslogv3.AccessLog {
	if s.reporter == source {
		return tcpLogs(s.reporter, t, s.fields())
	}
	return connectionLogs(s.reporter, t, bytesInTrial(denied, s.asked), s.fields())
}

// notAsked is true of a request that is none of the probes, and nil where there are none.
func notAsked(probes []sidecar.Probe) *accesslogv3.AccessLogFilter {
	var asked []string
	for _, p := range probes {
		if p.Kind == sidecar.HTTPS { // which no filter here reads
			continue
		}
		method, sent := question(p)
		paths := strconv.QuoteToASCII(sent)
		if clean := normal(sent); clean != sent {
			paths += ", " + strconv.QuoteToASCII(clean)
		}
		asked = append(asked, fmt.Sprintf("destination.port == %d && request.method == %q && request.path in [%s]", p.Port, method, paths))
	}
	if len(asked) == 0 {
		return nil
	}
	return expression("!(" + strings.Join(asked, " || ") + ")")
}

// normal is a path as it is after an HTTP filter has normalized it.
func normal(sent string) string {
	written, query, asks := strings.Cut(sent, "?")
	clean := path.Clean("/" + written)
	if strings.HasSuffix(written, "/") && clean != "/" {
		clean += "/"
	}
	if asks {
		clean += "?" + query
	}
	return clean
}

// notTo is true of a connection to none of the probes' ports, and nil where there are none: what is
// not read as HTTP may be a probe.
func notTo(probes []sidecar.Probe) *accesslogv3.AccessLogFilter {
	var ports []string
	for _, p := range probes {
		if port := strconv.Itoa(int(p.Port)); !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		return nil
	}
	return expression("!(destination.port in [" + strings.Join(ports, ", ") + "])")
}
