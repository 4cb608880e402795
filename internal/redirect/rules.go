// Package redirect sends a pod's TCP connections through its proxy, and writes the proxy's two SDS
// files. `weft redirect` runs it once, before the proxy starts.
//
//	Config → Chains (rules.go, pure) → one nftables transaction (table.go)
//	         ::6 on the loopback interface (address.go), SDS files (files.go)
package redirect

import (
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// Config is what differs from pod to pod.
type Config struct {
	NodeIPs         []netip.Addr   // where the kubelet's probes come from
	TCPProbePorts   []uint16       // the kubelet may connect to these, and send nothing unless they are excluded
	ExcludeInbound  []uint16       // local ports that are reached without the proxy
	ExcludeOutbound []uint16       // remote ports that are reached without the proxy
	ExcludeNetworks []netip.Prefix // destinations that are reached without the proxy
}

// A Chain is rules in order: the first that matches and decides ends it.
type Chain struct {
	Name  string
	Hook  *Hook // nil for one that only rules of others lead to
	Rules []Rule
}

// Hook is where packets enter a chain. Of one place, a lower priority comes first.
type Hook struct {
	Type     string // "filter": all packets; "nat": the first of each connection
	Place    string // "prerouting": what arrives; "output": what leaves
	Priority int32
}

// A Rule does what Then says with a packet for which every match holds.
type Rule struct {
	If   []match
	Then verdict
}

const loopback = "lo"

var (
	loopback4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	loopback6 = netip.PrefixFrom(netip.IPv6Loopback(), 128)
)

// Chains are the whole redirection, for one table of the family inet.
func Chains(c Config) []Chain {
	c.TCPProbePorts = slices.DeleteFunc(slices.Clone(c.TCPProbePorts), func(port uint16) bool { return slices.Contains(c.ExcludeInbound, port) })
	chains := []Chain{guard(c), inbound(c), ownCalls(c), outbound(c)}
	if len(c.TCPProbePorts) > 0 {
		chains = append(chains, bareSegments(), answers(c))
	}
	return chains
}

// guard sees packets before they are redirected. The proxy's own ports are no way in, and the kubelet
// sends nothing to a port whose TCP probe goes past the proxy.
func guard(c Config) Chain {
	rules := []Rule{
		{[]match{arrivesBy(loopback)}, pass},
		{[]match{ports{list: []uint16{sidecar.AdminPort, sidecar.OutboundPort, sidecar.InboundPort, sidecar.NodeInboundPort}}}, drop},
	}
	for _, probe := range probes(c, false) {
		rules = append(rules, Rule{probe, jump("bare")}, Rule{probe, drop})
	}
	return Chain{"guard", &Hook{"filter", "prerouting", -150}, rules}
}

// answers keeps what an app says to a TCP probe of its own accord, such as a greeting, in the pod.
func answers(c Config) Chain {
	var rules []Rule
	for _, probe := range probes(c, true) {
		rules = append(rules, Rule{probe, jump("bare")}, Rule{probe, resets{}})
	}
	return Chain{"answers", &Hook{"filter", "output", 0}, rules}
}

// probes match, for each of the node's IPs, packets of TCP probes, or of their answers.
func probes(c Config, answers bool) [][]match {
	if len(c.TCPProbePorts) == 0 {
		return nil
	}
	var all [][]match
	for _, ip := range c.NodeIPs {
		all = append(all, []match{address{source: !answers, in: alone(ip)}, ports{source: answers, list: c.TCPProbePorts}})
	}
	return all
}

// bareSegments lets through what bare matches.
func bareSegments() Chain {
	var rules []Rule
	for _, ip6 := range []bool{false, true} {
		for words := uint16(5); words <= 15; words++ {
			rules = append(rules, Rule{[]match{bare{ip6, words}}, accept})
		}
	}
	return Chain{"bare", nil, rules}
}

func inbound(c Config) Chain {
	direct := slices.Concat([]uint16{sidecar.ReadyPort, sidecar.StatsPort}, c.ExcludeInbound)
	slices.Sort(direct)
	rules := []Rule{
		{[]match{arrivesBy(loopback)}, pass},
		{[]match{ports{list: slices.Compact(direct)}}, pass},
	}
	for _, probe := range probes(c, false) {
		rules = append(rules, Rule{probe, pass})
	}
	for _, ip := range c.NodeIPs {
		rules = append(rules, Rule{[]match{address{source: true, in: alone(ip)}, isTCP{}}, redirectTo(sidecar.NodeInboundPort)})
	}
	rules = append(rules, Rule{[]match{isTCP{}}, redirectTo(sidecar.InboundPort)})
	return Chain{"inbound", &Hook{"nat", "prerouting", -100}, rules}
}

func outbound(c Config) Chain {
	rules := []Rule{
		{[]match{sentBy{id: uint32(sidecar.UID)}}, goTo("own")},
		{[]match{sentBy{group: true, id: uint32(sidecar.UID)}}, goTo("own")},
		{[]match{leavesBy(loopback)}, pass},
	}
	if len(c.ExcludeOutbound) > 0 {
		rules = append(rules, Rule{[]match{ports{list: c.ExcludeOutbound}}, pass})
	}
	for _, network := range c.ExcludeNetworks {
		rules = append(rules, Rule{[]match{address{in: network}}, pass})
	}
	rules = append(rules, Rule{[]match{isTCP{}}, redirectTo(sidecar.OutboundPort)})
	return Chain{"outbound", &Hook{"nat", "output", -100}, rules}
}

// ownCalls are the proxy's. What it sends to its own pod's IP for a caller in the pod enters by the
// inbound port, as from another pod; what it has let in is for the app.
func ownCalls(c Config) Chain {
	var rules []Rule
	if len(c.ExcludeInbound) > 0 {
		rules = append(rules, Rule{[]match{ports{list: c.ExcludeInbound}}, pass})
	}
	for _, f := range []struct {
		loopback netip.Prefix
		source   netip.Addr
	}{{loopback4, sidecar.AppSource4}, {loopback6, sidecar.AppSource6}} {
		rules = append(rules, Rule{[]match{
			leavesBy(loopback), address{not: true, in: f.loopback}, address{source: true, not: true, in: alone(f.source)}, isTCP{},
		}, redirectTo(sidecar.InboundPort)})
	}
	return Chain{"own", nil, rules}
}

func alone(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }
