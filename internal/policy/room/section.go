package room

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/quota"
)

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
