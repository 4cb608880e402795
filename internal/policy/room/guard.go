package room

import (
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/api/v1alpha1"
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
	// anything. nil: the section guards nothing.
	Guard func(said []Written[S], found [][]Referent, at Kind) []*corev3.TypedExtensionConfig
	// Identify is a filter that verifies what one level of these demands, for who goes by its claims before the Route
	// is chosen, and puts them under a key: of what is not as demanded there are none, and nothing is refused. nil: what
	// is demanded cannot be verified. nil of a section: it finds no claims.
	Identify func(said []Written[S], found [][]Referent, key string) *corev3.TypedExtensionConfig
	// Clash says in which field a newer policy cannot hold beside an older one of the same level; "": in none.
	// nil: they always can.
	Clash func(older, newer *S) string
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
	if s.Guarding.Clash == nil || a == nil || b == nil {
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
