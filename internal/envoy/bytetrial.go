package envoy

import (
	"fmt"
	"slices"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// What policies in Shadow would refuse of connections that carry no HTTP is said in the state of each, as the metadata
// of a request says it.
const (
	triedResult  = "weft.shadow.result"
	triedPolicy  = "weft.shadow.policy"
	triedSection = "weft.shadow.section"
	triedRule    = "weft.shadow.rule"
)

var shadowOfBytes = map[string]string{
	"shadow_section": inState(triedSection),
	"shadow_policy":  inState(triedPolicy),
	"shadow_rule":    inState(triedRule),
	"shadow_result":  inState(triedResult),
}

func inState(key string) string { return "%FILTER_STATE(" + key + ":PLAIN)%" }

// bytesInTrial is true of connections of which that would become, and that cannot be probes.
func bytesInTrial(result string, probes []sidecar.Probe) *accesslogv3.AccessLogFilter {
	return allOf(expression("filter_state['"+triedResult+"'] == b'"+result+"'"), notTo(probes))
}

// connectionOutcomes count connections about which policies in Shadow are, once they are through to the app.
func (s trial) connectionOutcomes(to called) []*accesslogv3.AccessLog {
	s.section, s.policy = inState(triedSection), inState(triedPolicy)
	through := func(result string) *accesslogv3.AccessLogFilter {
		return allOf(logTypes(accessdatav3.AccessLogType_TcpUpstreamConnected), bytesInTrial(result, s.asked))
	}
	return []*accesslogv3.AccessLog{s.counter(to, through(denied)), s.letIn(to, through(allowed))}
}

// choice is a text, as an expression of CEL, that holds where another one is true, and nothing before it was.
type choice struct{ when, text string }

// triedOfBytes says what would be refused, where something is tried out, as soon as it is known who calls or that nobody
// shows a certificate: whoever does not would be let in nowhere.
func triedOfBytes(tried []mesh.TriedPorts) []*filterstatev3.FilterStateValue {
	if len(tried) == 0 {
		return nil
	}
	where := places(tried)
	why := few(reasons(tried, where), maxNamed/2)
	where = few(where, maxNamed/2)
	policy, section := func(r room.Refusal) string { return quoted(r.Policy) }, func(r room.Refusal) string { return quoted(r.Section) }
	always := func(text string) func(room.Refusal) string { return func(room.Refusal) string { return text } }
	out := []*filterstatev3.FilterStateValue{
		chosen(triedResult, choices(why, always(quoted(denied))), choices(where, always("("+proven+" ? "+quoted(allowed)+" : "+quoted(denied)+")"))),
		chosen(triedPolicy, choices(why, policy), choices(where, policy)),
		chosen(triedSection, choices(why, section), choices(where, section)),
	}
	if len(why) > 0 {
		out = append(out, chosen(triedRule, choices(why, func(r room.Refusal) string { return quoted(r.Rule) })))
	}
	return out
}

// proven is true of who shows a certificate.
const proven = "connection.mtls"

func quoted(text string) string { return "'" + text + "'" }

// places are where what is tried, each with the first policy there: any others follow the known ones.
func places(tried []mesh.TriedPorts) (out []room.Refusal) {
	var known []int32
	for _, t := range tried {
		known = append(known, t.Ports...)
	}
	for _, t := range tried {
		at := "true"
		switch {
		case t.Ports != nil:
			at = toPorts(t.Ports)
		case len(known) > 0:
			at = "!(" + toPorts(known) + ")"
		}
		out = append(out, room.Refusal{Section: t.Section, Policy: t.Policy, Rule: room.NoRule, When: at})
	}
	return out
}

// reasons are what connections would be refused for, wherever. Where policies say more than a proxy reads, nobody would
// be let in.
func reasons(tried []mesh.TriedPorts, where []room.Refusal) (out []room.Refusal) {
	size := 0
	for i, at := range where {
		for _, r := range tried[i].Would {
			r.When = fmt.Sprintf("%s && %s && (%s)", proven, at.When, r.When)
			out, size = append(out, r), size+len(r.When)
		}
	}
	if size > maxRuled {
		return where
	}
	return out
}

// few are the first of some, and one in place of the rest: Envoy reads no expression that is 32 deep.
func few(all []room.Refusal, n int) []room.Refusal {
	if len(all) <= n {
		return all
	}
	last := all[n-1]
	last.Rule, last.When = another, ""
	var any []string
	for _, r := range all[n-1:] {
		any = append(any, r.When)
	}
	last.When = "(" + strings.Join(any, " || ") + ")"
	return append(all[:n-1:n-1], last)
}

func choices(all []room.Refusal, text func(room.Refusal) string) (out []choice) {
	for _, r := range all {
		out = append(out, choice{r.When, text(r)})
	}
	return out
}

// chosen sets a state to the first text that holds, and leaves it where none does.
func chosen(key string, all ...[]choice) *filterstatev3.FilterStateValue {
	text := "''"
	for _, c := range slices.Backward(slices.Concat(all...)) {
		text = fmt.Sprintf("%s ? %s : %s", c.when, c.text, text)
	}
	out := state(key, "%CEL("+text+")%")
	out.SkipIfEmpty = true
	return out
}
