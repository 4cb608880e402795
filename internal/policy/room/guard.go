package room

import (
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/wire"
)

// Guarding is what a section does that decides which requests may pass. It only tightens: what policies of
// different levels say must all hold, and it is no matter which is nearer.
//
//	policies about pods, Services and their ports → filters of the sidecar of the pod that is called
//	policies about Gateways, listeners and routes → filters of the Routes at Gateways
//	policies about a namespace or the mesh        → both
//
// The sections' filters come one after another in the order of all sections, before any that acts on requests
// otherwise.
type Guarding[S any] struct {
	// Guard has the filters that requests must pass, at a Gateway or at the pod that a Service leads to, given what
	// each policy says that is about them, from the outer levels to the inner ones and, in a level, by age; and
	// what was found of what each refers to, in the order of its references. It is not asked where no policy says
	// anything. nil: the section guards nothing. What is said in Shadow must refuse nothing.
	Guard func(said []Written[S], found [][]Referent, at Kind) []*corev3.TypedExtensionConfig
	// Identify is a filter that verifies what one level of these demands, for who goes by its claims before the Route
	// is chosen, and puts them under a key: of what is not as demanded there are none, and nothing is refused. nil: what
	// is demanded cannot be verified. nil of a section: it finds no claims.
	Identify func(said []Written[S], found [][]Referent, key string) *corev3.TypedExtensionConfig
	// Clash says in which field a newer policy cannot hold beside an older one of the same level; "": in none.
	// nil: they always can.
	Clash func(older, newer *S) string
	// Collide says what two policies of one level say that nobody can be let in by, given what was found of what
	// they refer to; "": nothing. nil: they never do.
	Collide func(older, newer []Referent) string
	// Read makes of what one policy says what can be made of it before it is known whom it is about. nil: nothing
	// is to be made of it.
	Read func(policy string, says *S, in Surroundings) Law
	// Connect is true, as an expression of CEL, of the connections without HTTP that may pass, given what each
	// policy says that is about them. nil: the section is about requests, and what is none does not pass where it
	// guards.
	Connect func(said []Written[S]) string
	// Try has the filters that find out, behind those of Guard, what would be refused of what these let pass if
	// what is said in Shadow were enforced beside the rest, and what they find, what counts first before the rest.
	// They refuse nothing. nil: the section cannot be tried out.
	Try func(said []Written[S], found [][]Referent, at Kind) ([]*corev3.TypedExtensionConfig, []Refusal)
	// TryConnect says the same of connections without HTTP. nil: all would be refused.
	TryConnect func(said []Written[S]) []Refusal
}

// Law is what a policy says, once it was read.
type Law interface {
	// Asks says what it depends on of whom is called: some labels, and whether who that is.
	Asks() (labels []string, who bool)
	// For is what it comes to for one who is called, as plain data.
	For(Destination) any
	// Told is how each of its rules is decided.
	Told() []v1alpha1.RuleStatus
	// Problem says what is wrong with it, beginning with the field, and what it comes to instead; "": nothing. It holds
	// all the same, and lets nobody in by what is wrong. In Shadow more may be.
	Problem(shadow bool) (what, instead string)
	// Asked says whether weft authz is, for what proxies do not decide of it.
	Asked() bool
	// Requests are the names of its rules that ask for more than is known of a connection without HTTP.
	Requests() []string
}

// Destination is who is called: pods, or the proxies of a Gateway.
type Destination struct {
	Gateway                   bool
	Namespace, ServiceAccount string
	Labels                    map[string]string
}

// Only is what a Law depends on of it.
func (d Destination) Only(l Law) Destination {
	labels, who := l.Asks()
	out := Destination{Gateway: d.Gateway}
	if who {
		out.Namespace, out.ServiceAccount = d.Namespace, d.ServiceAccount
	}
	for _, name := range labels {
		if value, is := d.Labels[name]; is {
			if out.Labels == nil {
				out.Labels = map[string]string{}
			}
			out.Labels[name] = value
		}
	}
	return out
}

// Surroundings are what a Law depends on beside.
type Surroundings struct {
	TrustDomain string
	// GatewayAccount is the ServiceAccount of a Gateway's proxies, in its namespace; "" if there is no such Gateway.
	GatewayAccount func(namespace, name string) string
	// Data is what is found in documents of the policy's namespace.
	Data func(v1alpha1.AuthorizationData) document.Found
	// Modules has the text of the policy's module.
	Modules func(v1alpha1.AuthorizationRego) opa.Text
}

// reads has a Room read, clash and connect as its section does.
func (s Section[S]) reads(r *Room) {
	if s.Guarding.Clash != nil {
		r.Clash = s.clash
	}
	if s.Guarding.Read != nil {
		r.Read = func(policy string, spec *v1alpha1.MeshPolicySpec, in Surroundings) Law {
			return s.Guarding.Read(policy, s.Of(spec), in)
		}
	}
	if s.Guarding.Connect != nil {
		r.Connect = func(said []Decided) string { return s.Guarding.Connect(s.each(said)) }
	}
	if s.Guarding.Try != nil {
		r.Try = func(said []Decided, at Kind) ([]*corev3.TypedExtensionConfig, []Refusal) {
			return s.Guarding.Try(s.each(said), found(said), at)
		}
		r.TryConnect = s.tryConnect
	}
}

func (s Section[S]) guard(said []Decided, at Kind) []*corev3.TypedExtensionConfig {
	return s.Guarding.Guard(s.each(said), found(said), at)
}

func (s Section[S]) identify(said []Decided, key string) *corev3.TypedExtensionConfig {
	return s.Guarding.Identify(s.each(said), found(said), key)
}

func found(said []Decided) (out [][]Referent) {
	for _, d := range said {
		out = append(out, d.Referents)
	}
	return out
}

func (s Section[S]) clash(older, newer *v1alpha1.MeshPolicySpec) string {
	a, b := s.Of(older), s.Of(newer)
	if a == nil || b == nil {
		return ""
	}
	return s.Guarding.Clash(a, b)
}

// beside is the Contest of a section in which all hold.
func (s Section[S]) beside(entries []Entry) (int, []bool) { return 0, make([]bool, len(entries)) }

// alone is the Decide of such a section, of one policy.
func (s Section[S]) alone(entries []Entry) Decided {
	e := entries[0]
	return Decided{Section: s.Name, Policy: e.Policy, Level: e.Level, Says: s.Of(e.Spec)}
}

// Guarded says whether a section is one that guards.
func (r Room) Guarded() bool { return r.Guard != nil }

// Chain has requests meet filters, one after another.
func Chain(filters []*corev3.TypedExtensionConfig) *xdsmatcherv3.Matcher_OnMatch {
	return Run("chain", &compositev3.ExecuteFilterAction{FilterChain: &compositev3.FilterChainConfiguration{TypedConfig: filters}})
}

// Always is a matcher by which all requests meet something.
func Always(meet *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	return &xdsmatcherv3.Matcher{OnNoMatch: meet}
}

// Refuse answers all requests with a status.
func Refuse(status uint32) *corev3.TypedExtensionConfig {
	return wire.Extension("envoy.filters.http.fault", &faultv3.HTTPFault{Abort: &faultv3.FaultAbort{
		ErrorType:  &faultv3.FaultAbort_HttpStatus{HttpStatus: status},
		Percentage: &typev3.FractionalPercent{Numerator: 100},
	}})
}

// Override is a matcher as the configuration, for some routes, of a Place.
func Override(by *xdsmatcherv3.Matcher) *anypb.Any {
	return wire.Any(&compositev3.CompositePerRoute{Matcher: by})
}
