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

// Traffic says whether the section is about traffic.
func (r Room) Traffic() bool { return r.Upstream != nil || r.OfRequests() }

// About says whether the section may be about a kind.
func (r Room) About(k Kind) bool { return slices.Contains(r.On, k) }

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
