// Package room says what a section of a MeshPolicy is to the rest of the core: what it may be about,
// and how what several policies say in it combines.
//
//	api/v1alpha1/<name>_types.go → internal/policy/<name>: its Section → internal/mesh decides by it
//	                               internal/policy/all.go: its Room    → statuses
//
// A section about traffic says itself what it makes of Envoy's clusters and routes: internal/mesh only
// decides which policy holds for each of them, and internal/envoy has the room do the rest.
package room

import (
	"reflect"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/quota"
)

// Kind is what a policy can be about.
type Kind string

// The kinds. All but the first four are objects by name, and have parts by name.
const (
	Mesh           Kind = "Mesh"
	Namespace      Kind = "Namespace"
	ServiceAccount Kind = "ServiceAccount"
	Pods           Kind = "Pods"
	Service        Kind = "Service"
	Gateway        Kind = "Gateway"
	HTTPRoute      Kind = "HTTPRoute"
	GRPCRoute      Kind = "GRPCRoute"
)

// Level is how far in a target lies: the greater, the nearer to one request.
type Level int

// The levels, from outside in.
const (
	AtMesh Level = iota
	AtNamespace
	AtServiceAccount
	AtPods
	AtService // or Gateway
	AtPort    // or listener
	AtRoute
	AtRule
)

var levels = map[Kind]Level{
	Mesh: AtMesh, Namespace: AtNamespace, ServiceAccount: AtServiceAccount, Pods: AtPods,
	Service: AtService, Gateway: AtService, HTTPRoute: AtRoute, GRPCRoute: AtRoute,
}

// LevelOf is the level of a kind, or of a part of it.
func LevelOf(k Kind, part bool) Level {
	if part {
		return levels[k] + 1
	}
	return levels[k]
}

// Written is what one policy says in a section of which the type is S.
type Written[S any] struct {
	Policy string // its key
	Level  Level
	Says   *S
	Rule   string // of a route, for which it holds: to a section with Entering
	Claims string // to a section with Guard, or that goes by claims: their key (see ClaimsFor); "": there are none
	Apart  string // the name of the filter that it has Apart; "": none
	Shadow bool   // to a section with Try: it is of a policy in Shadow
	// Law is what was made of it for whom is called, in a section with Read.
	Law any
}

// Section is one section of a MeshPolicy.
type Section[S any] struct {
	Name string // of the field in spec
	Of   func(*v1alpha1.MeshPolicySpec) *S
	On   []Kind // what it may be about
	// Shadow says that what it would refuse can be counted, so that it can be tried out.
	Shadow bool
	// Holds is the place of the one that holds among one or more that are written of one thing, in
	// the order of their levels and, in a level, of their age: Innermost, or Tightest.
	// It is nil in a section with Guard: there each level holds beside the others.
	Holds func([]Written[S]) int
	Traffic[S]
	Guarding[S]
}

// Traffic is what a section about traffic does; one about security has the zero value.
type Traffic[S any] struct {
	// Refers are what the section names elsewhere, and Referring is the Request of a section that does so, or that
	// goes by claims: it is told what was found of them, in their order. nil: it names nothing, or has a Guard.
	Refers    func(*S) []Reference
	Referring func(Written[S], []Referent, *routev3.Route)
	// Upstream shapes the Cluster of a Service's port, whoever sends to it; nil: the section is not
	// about what is sent to Services.
	Upstream func(*S, *clusterv3.Cluster)
	// Arrange says who among the endpoints of a Service's port gets how much of what a proxy at from sends
	// there, in the order of the groups; ByLabels are the labels of Nodes that it goes by. nil: all endpoints get
	// the same, from everywhere.
	Arrange  func(s *S, from Locality, groups []Group) []Share
	ByLabels func(*S) []string
	// Default is what holds of a Service of which no policy says anything, by what the Service says itself; nil, or of
	// it: nothing.
	Default func(*corev1.Service) *S
	// Request shapes the Route that takes requests; nil: the section is not about requests.
	Request func(*S, *routev3.Route)
	// Match narrows which requests a rule takes, that of a Route which answers with an error too. nil: the section
	// narrows nothing.
	Match func(Written[S], *routev3.RouteMatch)
	// Takes says whether proxies at a place take anything by a rule at all; ByLabels are the labels of Nodes that it
	// goes by. nil: all do.
	Takes func(s *S, there Proxy) bool
	// States are what Match looks at and must be found out of each request before its Route is. nil: nothing.
	States func(w Written[S], there Proxy) []*filterstatev3.FilterStateValue
	// Idle says why the section means nothing where requests come in by entrances of those kinds alone, beginning
	// with the field in it; "": it does. nil: it always does.
	Idle func(s *S, entrances []Kind) string
	// OwnRetries says whether Request sets a RetryPolicy, which no Cluster may then override; nil: never.
	OwnRetries func(*S) bool
	// Filter takes part in every HTTP connection that has routes; it is disabled but where Request
	// configures it for a Route. nil: the section needs none.
	Filter *hcmv3.HttpFilter
	// Shared configures a filter by what the section's policies say of all requests that come in at one port,
	// of a Gateway or of a Service as pods call it, in the order of the policies' keys. The filter outlives
	// the Routes, each of which has the Mark of the policy that holds for it. Of nothing said it lets all
	// pass. nil: the section needs none.
	Shared func(said []Written[S], at Port) proto.Message
	// Apart configures a filter of one policy, by what was found of its references, that is a resource of its own:
	// for what is too much to be in each Route. Referring has Routes enter it, by its name. Of nothing found it is
	// what holds until it has come. IsApart says whether a policy needs it. nil: none does.
	Apart   func(Written[S], []Referent) proto.Message
	IsApart func(*S) bool
	// Asking configures one more filter beside the Shared one, after it, which asks the operator's quota service;
	// nil of what says nothing that all proxies count together. Of nothing said it asks nobody. One section at
	// most has it. Quotas are the limits that it asks about. nil: the section counts nothing.
	Asking func(said []Written[S], at Port) proto.Message
	Quotas func(*S) []quota.Limit
	// Entering configures a Shared filter, by its name, for a Route: it is the Request of a section that tells
	// rules apart. What is said to Shared is then what holds for each rule, in the order of the policies' keys
	// and of the rules. nil: what policies say is enough.
	Entering func(w Written[S], shared string, r *routev3.Route)
	// Problem says what is wrong with the section, beginning with the field in it, about a target of that
	// kind, or a part of one; "": nothing. What has a problem does not hold. nil: nothing ever is.
	Problem func(s *S, on Kind, part bool) string
	// Until is when the section ends by itself: what has ended does not hold. nil: never.
	Until func(*S) time.Time
	// Callers says whether the section is about what some callers send, who are known where they call a
	// Service: it does not hold at Gateways. nil: it never is.
	Callers func(*S) bool
	// Claims is the first field, as it follows the section's name, that goes by claims of tokens. A section with a
	// Shared filter goes by those under Claims, the key, at Gateways; another one by those that it is told. "": none
	// does. nil: the same.
	Claims func(*S) string
	// Gateways says that the section is about what comes by Gateways only: it does not hold for what pods call.
	Gateways bool
	// Bytes says that Upstream has a meaning for what is not HTTP too.
	Bytes bool
	// Fits says whether Upstream has a meaning for a Cluster that speaks "http1", "http2", "tcp" or, as apps do
	// themselves, "tls". nil: for the first two always, for the others as Bytes says.
	Fits func(s *S, protocol string) bool
	// OnlyRequests is the first field, as it follows the section's name, that means nothing to what is not
	// HTTP though the section has others that do; "": none does. nil: the same.
	OnlyRequests func(*S) string
}

// Decide is what holds of what is written, and by which policy; the zero value if nothing is.
func (s Section[S]) Decide(written []Written[S]) (holds Written[S]) {
	if len(written) > 0 {
		holds = written[s.Holds(written)]
	}
	return holds
}

// Innermost is for sections about traffic: the innermost level wins and, in it, the oldest policy.
func Innermost[S any](written []Written[S]) int {
	best := 0
	for i, w := range written {
		if w.Level > written[best].Level {
			best = i
		}
	}
	return best
}

// Tightest is for sections about security: whatever the levels, the strictest wins.
func Tightest[S any](strictness func(*S) int) func([]Written[S]) int {
	return func(written []Written[S]) int {
		best := 0
		for i, w := range written {
			if strictness(w.Says) > strictness(written[best].Says) {
				best = i
			}
		}
		return best
	}
}

// Room is a Section without its type.
type Room struct {
	Name   string
	On     []Kind
	Shadow bool
	// Has says whether a policy has the section.
	Has func(*v1alpha1.MeshPolicySpec) bool
	// Contest tells, of one or more policies that have the section, which holds, and which of them
	// say something else than that one.
	Contest func([]Entry) (holds int, others []bool)
	// Upstream, Request and Match are those of the section's Traffic, of what was Decided; nil as there.
	Upstream func(Decided, *clusterv3.Cluster)
	Request  func(Decided, *routev3.Route)
	Match    func(Decided, *routev3.RouteMatch)
	// Takes, States and Idle are those of the section's Traffic; nil as there.
	Takes  func(d Decided, there Proxy) bool
	States func(d Decided, there Proxy) []*filterstatev3.FilterStateValue
	Idle   func(spec *v1alpha1.MeshPolicySpec, entrances []Kind) string
	// Arrange and ByLabels are those of the section's Traffic; nil as there.
	Arrange  func(d Decided, from Locality, groups []Group) []Share
	ByLabels func(Decided) []string
	// Default is that of the section's Traffic, by no policy; nil as there.
	Default func(*corev1.Service) (d Decided, says bool)
	// Shared is that of the section's Traffic, of what each policy says; nil as there.
	Shared func(said []Decided, at Port) proto.Message
	// Asking is that of the section's Traffic, of what each policy says, and Quotas are those of a policy; nil as
	// there.
	Asking func(said []Decided, at Port) proto.Message
	Quotas func(spec *v1alpha1.MeshPolicySpec) []quota.Limit
	// Entering is that of the section's Traffic, of what was Decided for a rule; nil as there.
	Entering func(d Decided, shared string, r *routev3.Route)
	// Guard, Clash and Collide are those of the section's Guarding; nil as there.
	Guard   func(said []Decided, at Kind) []*corev3.TypedExtensionConfig
	Clash   func(older, newer *v1alpha1.MeshPolicySpec) string
	Collide func(older, newer []Referent) string
	// Apart and IsApart are those of the section's Traffic, of what a policy says.
	Apart   func(Decided) proto.Message
	IsApart func(Decided) bool
	// Read and Connect are those of the section's Guarding; nil as there.
	Read    func(policy string, spec *v1alpha1.MeshPolicySpec, in Surroundings) Law
	Connect func(said []Decided) string
	// Try and TryConnect are those of the section's Guarding; nil as there.
	Try        func(said []Decided, at Kind) ([]*corev3.TypedExtensionConfig, []Refusal)
	TryConnect func(said []Decided) []Refusal
	// Identify is that of the section's Guarding; nil as there.
	Identify func(said []Decided, key string) *corev3.TypedExtensionConfig
	// Refers are those of the section's Traffic, of a policy.
	Refers func(spec *v1alpha1.MeshPolicySpec) []Reference
	// OwnRetries, Filter and Problem are those of the section's Traffic.
	OwnRetries func(Decided) bool
	Filter     *hcmv3.HttpFilter
	Problem    func(spec *v1alpha1.MeshPolicySpec, on Kind, part bool) string
	// Fits says whether Upstream has a meaning for a Cluster that speaks a protocol, as its Traffic's does.
	Fits func(d Decided, protocol string) bool
	// OnlyRequests is that of the section's Traffic.
	OnlyRequests func(Decided) string
	// Until is when the section of a policy ends by itself; the zero time: never.
	Until func(spec *v1alpha1.MeshPolicySpec) time.Time
	// Callers is that of the section's Traffic.
	Callers func(spec *v1alpha1.MeshPolicySpec) bool
	// Claims is that of the section's Traffic.
	Claims func(spec *v1alpha1.MeshPolicySpec) string
	// Gateways is that of the section's Traffic.
	Gateways bool
	// Decide is what holds of one or more policies that have the section.
	Decide func([]Entry) Decided
}

// Decided is what a section says of one Cluster or Route, and the policy by which it does.
type Decided struct {
	Section string // its Name
	Policy  string // its key; "" of a Default
	Says    any    // the section, by pointer
	Rule    string // for which it was, in a Shared filter that tells rules apart; else ""
	Level   Level  // of the policy's target, in a section with Guard
	Claims  string // that it goes by, in such a section, or in one that goes by claims
	Law     any    // what was made of it for whom is called, in a section with Read
	Shadow  bool   // in a section with Try: the policy is in Shadow
	// Referents are what was found of what the section refers to.
	Referents []Referent
	// Apart is the name of the policy's filter that is a resource of its own; "": there is none.
	Apart string
	// Ended says that the section has ended and shapes nothing: it is told of to those who must be without it.
	Ended bool
}

// Entry is one policy in a Contest. They are in the order of their levels and, in a level, of
// their age.
type Entry struct {
	Policy string // its key
	Level  Level
	Spec   *v1alpha1.MeshPolicySpec
}

// Room is the section as one of all.
func (s Section[S]) Room() Room {
	out := Room{
		Name: s.Name, On: s.On, Shadow: s.Shadow,
		Has:     func(spec *v1alpha1.MeshPolicySpec) bool { return s.Of(spec) != nil },
		Contest: s.contest, Decide: s.decide,
		Filter: s.Filter, Fits: s.fits,
		OwnRetries: func(d Decided) bool { return s.OwnRetries != nil && s.OwnRetries(d.Says.(*S)) },
		IsApart:    func(d Decided) bool { return s.IsApart != nil && s.IsApart(d.Says.(*S)) },
		Problem:    s.problem,
		OnlyRequests: func(d Decided) string {
			if s.Traffic.OnlyRequests == nil {
				return ""
			}
			return s.Traffic.OnlyRequests(d.Says.(*S))
		},
		Until: s.until, Refers: s.refers, Gateways: s.Gateways,
		Callers: func(spec *v1alpha1.MeshPolicySpec) bool {
			return s.Callers != nil && s.Of(spec) != nil && s.Callers(s.Of(spec))
		},
	}
	out.Claims = func(spec *v1alpha1.MeshPolicySpec) string {
		if says := s.Of(spec); says != nil && s.Traffic.Claims != nil {
			return s.Traffic.Claims(says)
		}
		return ""
	}
	s.upstream(&out)
	if s.Traffic.Request != nil {
		out.Request = func(d Decided, r *routev3.Route) { s.Traffic.Request(d.Says.(*S), r) }
	}
	s.narrowing(&out)
	if s.Traffic.Referring != nil {
		out.Request = func(d Decided, r *routev3.Route) {
			s.Traffic.Referring(s.of(d), d.Referents, r)
		}
	}
	if s.Traffic.Shared != nil {
		out.Shared = func(said []Decided, at Port) proto.Message { return s.Traffic.Shared(s.each(said), at) }
	}
	if s.Traffic.Asking != nil {
		out.Asking = func(said []Decided, at Port) proto.Message { return s.Traffic.Asking(s.each(said), at) }
		out.Quotas = func(spec *v1alpha1.MeshPolicySpec) []quota.Limit {
			if says := s.Of(spec); says != nil {
				return s.Traffic.Quotas(says)
			}
			return nil
		}
	}
	s.guarding(&out)
	if s.Traffic.Apart != nil {
		out.Apart = func(d Decided) proto.Message { return s.Traffic.Apart(s.of(d), d.Referents) }
	}
	if s.Traffic.Entering != nil {
		out.Entering = func(d Decided, shared string, r *routev3.Route) { s.Traffic.Entering(s.of(d), shared, r) }
	}
	return out
}

// upstream gives a Room what shapes Clusters and their endpoints.
func (s Section[S]) upstream(out *Room) {
	if s.Traffic.Upstream != nil {
		out.Upstream = func(d Decided, c *clusterv3.Cluster) { s.Traffic.Upstream(d.Says.(*S), c) }
	}
	if s.Traffic.Arrange != nil {
		out.Arrange = func(d Decided, from Locality, groups []Group) []Share {
			return s.Traffic.Arrange(d.Says.(*S), from, groups)
		}
	}
	if s.Traffic.Default != nil {
		out.Default = func(svc *corev1.Service) (Decided, bool) {
			says := s.Traffic.Default(svc)
			return Decided{Section: s.Name, Says: says}, says != nil
		}
	}
	if s.Traffic.ByLabels != nil {
		out.ByLabels = func(d Decided) []string { return s.Traffic.ByLabels(d.Says.(*S)) }
	}
}

// guarding gives a Room what guards requests; all of its policies hold beside each other.
func (s Section[S]) guarding(out *Room) {
	if s.Guarding.Guard != nil {
		out.Guard, out.Collide = s.guard, s.Guarding.Collide
		out.Contest, out.Decide = s.beside, s.alone
		s.reads(out)
	}
	if s.Guarding.Identify != nil {
		out.Identify = s.identify
	}
}

// narrowing gives a Room what narrows rules.
func (s Section[S]) narrowing(out *Room) {
	if s.Traffic.Match != nil {
		out.Match = func(d Decided, m *routev3.RouteMatch) { s.Traffic.Match(s.of(d), m) }
	}
	if s.Traffic.Takes != nil {
		out.Takes = func(d Decided, there Proxy) bool { return s.Traffic.Takes(d.Says.(*S), there) }
	}
	if s.Traffic.States != nil {
		out.States = func(d Decided, there Proxy) []*filterstatev3.FilterStateValue {
			return s.Traffic.States(s.of(d), there)
		}
	}
	if s.Traffic.Idle != nil {
		out.Idle = func(spec *v1alpha1.MeshPolicySpec, entrances []Kind) string {
			return s.Traffic.Idle(s.Of(spec), entrances)
		}
	}
}

func (s Section[S]) each(said []Decided) (written []Written[S]) {
	for _, d := range said {
		written = append(written, s.of(d))
	}
	return written
}

func (s Section[S]) of(d Decided) Written[S] {
	return Written[S]{Policy: d.Policy, Level: d.Level, Says: d.Says.(*S), Rule: d.Rule, Claims: d.Claims, Apart: d.Apart, Shadow: d.Shadow, Law: d.Law}
}

// Proxy is one by what tells it from others of the same Routes.
type Proxy struct {
	Gateway bool // else it is a sidecar
	At      Locality
}

// Port is where requests come in.
type Port struct {
	Gateway bool   // else at a sidecar, from its own pod
	Routes  string // the name of its RouteConfiguration
}

// Mark is the metadata of a Route, under a name and in it under two keys, that tells by which policy a
// section with a Shared filter holds for it: that policy's own key, and MarkedBy.
func Mark(section string) (name string) { return "weft." + section }

// MarkedBy is the key in every Mark.
const MarkedBy = "policy"

// OfRequests says whether the section says something of requests.
func (r Room) OfRequests() bool { return r.Request != nil || r.Shared != nil || r.Match != nil }

func (s Section[S]) problem(spec *v1alpha1.MeshPolicySpec, on Kind, part bool) string {
	says := s.Of(spec)
	if says == nil || s.Problem == nil {
		return ""
	}
	return s.Problem(says, on, part)
}

func (s Section[S]) fits(d Decided, protocol string) bool {
	switch {
	case s.Traffic.Upstream == nil:
		return false
	case s.Fits != nil:
		return s.Fits(d.Says.(*S), protocol)
	}
	return s.Bytes || protocol == "http1" || protocol == "http2"
}

func (s Section[S]) until(spec *v1alpha1.MeshPolicySpec) time.Time {
	if says := s.Of(spec); says != nil && s.Until != nil {
		return s.Until(says)
	}
	return time.Time{}
}

func (s Section[S]) written(entries []Entry) []Written[S] {
	out := make([]Written[S], len(entries))
	for i, e := range entries {
		out[i] = Written[S]{Policy: e.Policy, Level: e.Level, Says: s.Of(e.Spec)}
	}
	return out
}

func (s Section[S]) decide(entries []Entry) Decided {
	holds := s.Decide(s.written(entries))
	return Decided{Section: s.Name, Policy: holds.Policy, Says: holds.Says}
}

func (s Section[S]) contest(entries []Entry) (holds int, others []bool) {
	written := s.written(entries)
	holds = s.Holds(written)
	for _, w := range written {
		others = append(others, !reflect.DeepEqual(w.Says, written[holds].Says))
	}
	return holds, others
}

// Traffic says whether the section is about traffic.
func (r Room) Traffic() bool { return r.Upstream != nil || r.OfRequests() }

// About says whether the section may be about a kind.
func (r Room) About(k Kind) bool { return slices.Contains(r.On, k) }
