// Package mesh decides what holds: which routes attach to which listeners, where
// their requests go, and what each object's status must say of it.
//
//	cluster tables → attachment → model (this file) → internal/envoy
//	                            → conditions        → status
//
// Everything here is a function of Kubernetes objects, remembered by internal/incr.
package mesh

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/policy/extauth"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Listener is one port of one proxy: every Gateway listener on that port together.
type Listener struct {
	Name      string // the resource's name: gateway/<namespace>/<gateway>/<port>
	Port      uint32
	Chains    []Chain // ordered by Hostname; one with an empty Hostname is the default
	Datagrams string  // of a port of UDP, which has no Chains: the name of the Cluster that it sends to
	Telemetry v1alpha1.Telemetry
	Decisions v1alpha1.DecisionMode // that weft authz is told of; "": none
}

// Chain is how one kind of connection to a Listener is served.
type Chain struct {
	Name     string   // the Gateway listener's name; "http" where several share a plaintext chain
	Hostname string   // SNI to match: exact, "*.example.com", or "" for any
	Routes   string   // name of the RouteConfiguration, itself served by RDS; "": bytes go as Split says
	Secrets  []string // SDS names of the certificates; none: plaintext, or TLS that is passed through
	Clients  *ClientTLS
	Split    string // in place of Routes: the name of its Split
	Raw      bool   // of a port of protocol TCP, which looks at nothing
	// Shared are the sections of policies that have a filter here which the Routes share; Counted says that there
	// is besides one that asks the quota service. Apart are the filters of single policies.
	Shared  []string
	Counted bool
	Apart   []Apart
}

// ClientTLS is how the clients of a Chain that ends TLS prove who they are; nil: they are not asked.
type ClientTLS struct {
	Authorities []byte // that verify their certificates, in PEM
	Required    bool   // false: they get in with any certificate, or without one
}

// TLS says whether a chain is for connections over TLS.
func (c Chain) TLS() bool { return !c.Raw && (c.Routes == "" || len(c.Secrets) > 0) }

// Split is where a Chain, or a Service's port, passes connections. It is a resource of its own, so that a
// change of it leaves alone those that are open: a change of a Chain would close them.
type Split struct {
	// Name is that of its Listener, for a Chain of TLS with …/<listener>/<domain> after it.
	Name     string
	Backends []Backend
	// Unresolved is a share in weight: what falls to it is closed, and so is everything where there is
	// neither.
	Unresolved uint32
	Service    string // its key, and Port: of a ServiceListener's; else empty
	Port       uint32
	Telemetry  v1alpha1.Telemetry
}

// VirtualHost is one domain of one RouteConfiguration, a resource of its own (VHDS).
type VirtualHost struct {
	Routes string // name of the RouteConfiguration
	Domain string // "*", "*.example.com" or "shop.example.com"
	Port   uint32 // the listener's port, which redirects keep
	TLS    bool   // whether the listener ends TLS: the scheme that redirects keep
	Rules  []Rule // in no particular order
	// At is the locality of the proxies that have it; unknown where all do that have none of their own.
	At room.Locality
}

// Name is the wire name: Envoy takes what precedes the last slash as the RouteConfiguration.
func (v VirtualHost) Name() string { return v.Routes + "/" + v.Domain }

// Shared is the name of a section's Shared that its Routes have, whichever protocol their caller speaks.
func (v VirtualHost) Shared(section string) string {
	if strings.HasPrefix(v.Routes, GatewayPrefix) {
		return SharedName(section, v.Routes)
	}
	return SharedName(section, strings.TrimSuffix(v.Routes, overHTTP2))
}

// Origin says which rule of which route something came from, and carries what breaks a tie.
type Origin struct {
	Kind            string // HTTPRoute, GRPCRoute or, where requests meet no route, Service
	Namespace, Name string // of that
	Created         time.Time
	Index           int    // of the rule within the route
	RuleName        string // empty when unnamed
}

// Compare orders by age, then name, then position: the tie-break that Gateway API prescribes
// between routes whose matches are equally specific.
func (o Origin) Compare(p Origin) int {
	return cmp.Or(o.Created.Compare(p.Created), cmp.Compare(o.Namespace, p.Namespace),
		cmp.Compare(o.Name, p.Name), cmp.Compare(o.Index, p.Index))
}

// RuleID is of no other rule: its name, which has no #, or its place.
func (o Origin) RuleID() string {
	return strings.ToLower(o.Kind) + "/" + o.Namespace + "/" + o.Name + "/" + cmp.Or(o.RuleName, "#"+strconv.Itoa(o.Index))
}

// Rule is one rule of a route with its references resolved; a GRPCRoute's in the words of HTTP.
type Rule struct {
	Origin
	Matches []gwv1.HTTPRouteMatch // never empty: the default "/" is filled in
	// Calls are what each of a GRPCRoute's Matches says of the method called, by which Gateway API
	// orders them; none of an HTTPRoute.
	Calls    []gwv1.GRPCMethodMatch
	Filters  []gwv1.HTTPRouteFilter
	Backends []Backend // weights of zero are kept out
	// Unresolved is the share, in weight, of backends that cannot be resolved; requests that
	// fall to it are answered 500, or of a GRPCRoute's 503, which is gRPC's UNAVAILABLE. A rule without
	// backends and without a redirect answers the same when its reference is invalid (Fail).
	Unresolved uint32
	Mirrors    []Mirror
	Auth       *extauth.Question // nil: nobody is asked
	Timeouts   *gwv1.HTTPRouteTimeouts
	Retry      *gwv1.HTTPRouteRetry
	Session    *Session // nil: requests go to any endpoint
	// Sessionless, if not empty, says why the sessions that policies ask for are not kept.
	Sessionless string
	// Fail, when not zero, answers every request of the rule with this HTTP status.
	Fail uint32
	// Policies are what sections of MeshPolicies say of its requests, in the order of all sections.
	Policies []room.Decided
	// Guards are what its requests must pass at a Gateway: what sections that guard say, in the order of all
	// sections and, in one, from the outer levels to the inner ones.
	Guards []room.Decided
	// Law is by what these decide; nil: nobody is told what they do.
	Law *authz.Law
	// Tokens are verified, where there are any, before it is known whether the rule takes a request: its Policies go by
	// their claims.
	Tokens []Tokens

	idle []Backend // of weight 0, while the rule is being made
}

// Cluster is the one by which the rule sends to a backend: that with OwnRetries if the rule says how
// to retry, or how long one attempt may take.
func (r Rule) Cluster(backend string) string {
	if r.Retry != nil || r.Timeouts != nil && r.Timeouts.BackendRequest != nil {
		return OwnRetries(backend)
	}
	return backend
}

// OwnRetries is the name of the Cluster with OwnRetries beside another one, or of that itself.
func OwnRetries(cluster string) string { return strings.TrimSuffix(cluster, ownRetries) + ownRetries }

// MirrorOf is the name of the Cluster beside another one that copies of requests are sent by.
func MirrorOf(cluster string) string { return cluster + mirrorEnd }

// PoliciesOf are the keys of the policies that say something of some rules, each once.
func PoliciesOf(rules []Rule) (out []string) {
	for _, r := range rules {
		out = append(append(out, policyKeys(r.Policies)...), policyKeys(r.Guards)...)
		for _, t := range r.Tokens {
			out = append(out, policyKeys(t.By)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func policyKeys(decided []room.Decided) (out []string) {
	for _, d := range decided {
		if d.Policy != "" {
			out = append(out, d.Policy)
		}
	}
	return out
}

// PolicyKeys are the keys of the policies that say something of a Cluster, each once.
func (c Cluster) PolicyKeys() []string {
	out := policyKeys(c.Policies)
	slices.Sort(out)
	return slices.Compact(out)
}

// Backend is one weighted destination.
type Backend struct {
	Cluster string // name of the Cluster
	Weight  uint32 // > 0
	Filters []gwv1.HTTPRouteFilter
}

// Mirror is a destination that receives a copy of requests, whose answers are ignored.
type Mirror struct {
	Cluster     string
	Numerator   uint32 // of Denominator
	Denominator uint32
}

// Cluster is one port of one Service. Envoy lets what a Cluster says of retries override what a route
// says. So rules that say something of them send by a second Cluster with OwnRetries, and mirrors by one of
// their own.
type Cluster struct {
	Name       string // service/<namespace>/<service>/<port>, and what its requests have of their own
	Endpoints  string // the name of its Endpoints: service/<namespace>/<service>/<port>
	Protocol   Protocol
	OwnRetries bool // it leaves retries to the rules
	Mirror     bool // what is sent to it are copies, which must not hold up what they are copies of
	Peers      Peers
	Sessions   bool         // its endpoints are those of several Services, over which sessions reach
	Retries    *RetryBudget // nil: the usual one
	TLS        *BackendTLS  // that its endpoints' own apps end; nil: none
	// Policies are what sections of MeshPolicies say of it, in the order of all sections.
	Policies []room.Decided
}

// BackendTLS is how a Gateway speaks TLS to the apps behind a Service port. Without Authorities nobody
// can prove anything, and such a Cluster leads nowhere.
type BackendTLS struct {
	SNI         string
	Names       []gwv1.SubjectAltName // of which their certificates must have one, at least one
	Authorities []byte                // by which these are verified, in PEM
	Certificate string                // SDS name of the one that is shown to them; empty: none
}

// Peers are the endpoints of a Cluster that are in the mesh.
type Peers struct {
	Identities []string // their SPIFFE IDs, in order; none: none is
	All        bool     // no endpoint is outside
}

// Endpoints are the addresses of one Cluster that may receive requests.
type Endpoints struct {
	Cluster   string
	Addresses []Endpoint // ordered
	// Localities are the same as a policy arranges them, ordered; none: no policy does.
	Localities []Locality
	Policies   []string // the key of the policy that does
}

// Locality are endpoints that are at one place, and what these get together.
type Locality struct {
	Region, Zone string
	Within       string     // the label by which they are nearer than others of the zone; empty: none
	Priority     uint32     // 0 gets what is sent; a further one, what those before it do not answer for
	Weight       uint32     // its part of what goes to its Priority
	Addresses    []Endpoint // ordered
}

// Endpoint is one pod's address and port.
type Endpoint struct {
	Address string // an IPv4 or IPv6 address
	Port    uint32
	Zone    string // topology.kubernetes.io/zone of its node; empty when unknown
	Node    string // that its pod is on; empty when unknown
	// Identity is the SPIFFE ID that it must prove by mTLS; empty: it is outside the mesh.
	Identity string
	Weight   uint32 // its share among those of its Cluster; 0 in all of them: all have the same
	Idle     bool   // it gets the requests of sessions that it has, and no others
}

// Secret is a certificate and its private key, in PEM.
type Secret struct {
	Name  string // secret/<namespace>/<name>
	Chain []byte
	Key   []byte
}
