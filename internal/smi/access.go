package smi

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
)

// Allow is one way in to the pods of a ServiceAccount: who may send what. Where any is asked for, what no
// Allow takes is refused. Nothing in it is SMI's alone: other rules of who may call whom become the same.
type Allow struct {
	Name    string   // by which a log tells which one it was: traffictarget/<namespace>/<name>/<rule>[/<match>]
	Sources []string // ServiceAccounts, "namespace/name", ordered, at least one
	Ports   []int32  // of the pods, ordered; none: all
	Traffic Traffic
	Request Request // of Requests
}

// Traffic is what an Allow is about.
type Traffic int

const (
	// Requests are those of HTTP that a Request describes.
	Requests Traffic = iota
	// Bytes are all that is sent, HTTP too.
	Bytes
	// DeclaredBytes are all that is sent to ports that a Service declares to carry no HTTP. At other
	// ports callers choose whether what they send is read as HTTP: bytes would be a way around Requests.
	DeclaredBytes
)

// Request describes requests by all that it says, which is something at least.
type Request struct {
	Methods []string // any of them; none: any
	Path    string   // a regular expression for the whole path, without the query; "": any path
	Headers []Header // all of them, ordered by name
}

// Header describes the value of a header by a regular expression for the whole of it.
type Header struct{ Name, Value string }

// Specs are what the rules of TrafficTargets name, in the namespace of one.
type Specs struct {
	HTTPRouteGroup func(name string) (*specs.HTTPRouteGroup, bool)
	TCPRoute       func(name string) (*specs.TCPRoute, bool)
	// Namesake says whether Gateway API has an object of that name, of its kind of the same name.
	Namesake func(kind, name string) bool
	// Regex says what keeps a text from being a regular expression for the proxy.
	Regex func(string) error
	// Header says whether a header can have that name.
	Header func(string) bool
}

// Target is what a TrafficTarget comes to.
type Target struct {
	// Destination is the ServiceAccount that it is about, "namespace/name"; "": none. One that is there is
	// guarded, whatever else is wrong.
	Destination string
	Allows      []Allow
	Problems    []Problem // in the order of the fields
}

// Problem is a part of a TrafficTarget that allows nothing. The message names the field and the remedy.
type Problem struct{ Reason, Message string }

// Reasons of Problems.
const (
	ReasonInvalid      = "Invalid"
	ReasonNotPermitted = "RefNotPermitted" // the destination is another namespace's
	ReasonNotFound     = "RefNotFound"     // what is named may still come
	ReasonInvalidMatch = specs.ReasonInvalidMatch
	ReasonNotEnforced  = "NotEnforced"
)

// serviceAccount is the kind of the identities that there are.
const serviceAccount = "ServiceAccount"

// Destination is the ServiceAccount that a TrafficTarget is about, or "". It must be of the same namespace:
// who may write in one could otherwise open another's pods, or close them.
func Destination(t *access.TrafficTarget) string {
	d := t.Spec.Destination
	if d.Kind != serviceAccount || !isAccount(t.Namespace, d.Name) || cmp.Or(d.Namespace, t.Namespace) != t.Namespace {
		return ""
	}
	return t.Namespace + "/" + d.Name
}

// isAccount keeps names out that no ServiceAccount can have, as they become part of expressions.
func isAccount(namespace, name string) bool {
	return len(validation.IsDNS1123Label(namespace)) == 0 && len(validation.IsDNS1123Subdomain(name)) == 0
}

// Access translates a TrafficTarget. What is wrong in it, or cannot be found, allows nothing.
func Access(t *access.TrafficTarget, s Specs) Target {
	c := compiler{TrafficTarget: t, specs: s}
	c.destination()
	c.sources()
	c.rules()
	if c.out.Destination == "" || len(c.from) == 0 {
		c.out.Allows = nil
	}
	return c.out
}

// compiler works on one TrafficTarget.
type compiler struct {
	*access.TrafficTarget
	specs Specs
	from  []string
	out   Target
}

func (c *compiler) problem(reason, format string, args ...any) {
	c.out.Problems = append(c.out.Problems, Problem{reason, fmt.Sprintf(format, args...)})
}

func (c *compiler) destination() {
	d := c.Spec.Destination
	c.out.Destination = Destination(c.TrafficTarget)
	switch {
	case c.out.Destination != "":
	case d.Kind != serviceAccount:
		c.problem(ReasonInvalid, "spec.destination.kind: %s has no meaning here, so that this TrafficTarget is about no pod: name a ServiceAccount", d.Kind)
	case cmp.Or(d.Namespace, c.Namespace) != c.Namespace:
		c.problem(ReasonNotPermitted, "spec.destination.namespace: %s is not this TrafficTarget's, which changes nothing there: write it in namespace %s", d.Namespace, d.Namespace)
	default:
		c.problem(ReasonInvalid, "spec.destination.name: no ServiceAccount can be called %q", d.Name)
	}
}

func (c *compiler) sources() {
	for i, s := range c.Spec.Sources {
		namespace := cmp.Or(s.Namespace, c.Namespace)
		switch {
		case s.Kind != serviceAccount:
			c.problem(ReasonInvalid, "spec.sources[%d].kind: %s has no meaning here, so that it lets nobody in: name each ServiceAccount", i, s.Kind)
		case !isAccount(namespace, s.Name):
			c.problem(ReasonInvalid, "spec.sources[%d]: no ServiceAccount can be called %q in namespace %q: write the name alone, and its namespace apart", i, s.Name, namespace)
		default:
			c.from = append(c.from, namespace+"/"+s.Name)
		}
	}
	slices.Sort(c.from)
	c.from = slices.Compact(c.from)
	if len(c.Spec.Sources) == 0 {
		c.problem(ReasonInvalid, "spec.sources: nobody is named, so that it lets nobody in: name at least one ServiceAccount")
	}
}

// rules are all translated together: beside HTTPRouteGroups, TCPRoutes say to which ports requests may go.
func (c *compiler) rules() {
	if len(c.Spec.Rules) == 0 {
		c.problem(ReasonInvalid, "spec.rules: nothing is named, so that nothing is allowed: name at least one HTTPRouteGroup or TCPRoute")
	}
	bytes := Bytes
	if c.has(httpRouteGroup) {
		bytes = DeclaredBytes
	}
	ports, shut := c.ports()
	for i, r := range c.Spec.Rules {
		switch r.Kind {
		case httpRouteGroup:
			c.group(i, r, ports, shut)
		case tcpRoute:
			c.tcp(i, r, bytes, shut)
		case udpRoute:
			c.problem(ReasonNotEnforced, "spec.rules[%d]: no sidecar sees UDP, which UDPRoute %s therefore neither allows nor keeps out: guard it by a NetworkPolicy, and take the rule out, or name a TCPRoute if TCP is meant", i, r.Name)
		default:
			c.problem(ReasonInvalid, "spec.rules[%d].kind: %s is none of HTTPRouteGroup, TCPRoute and UDPRoute", i, r.Kind)
		}
	}
}

// Kinds of rules.
const (
	httpRouteGroup = "HTTPRouteGroup"
	tcpRoute       = "TCPRoute"
	udpRoute       = "UDPRoute"
)

func (c *compiler) has(kind string) bool {
	return slices.ContainsFunc(c.Spec.Rules, func(r access.TrafficTargetRule) bool { return r.Kind == kind })
}

// ports are those to which requests may go, none of which stands for all, and whether they may go to none.
func (c *compiler) ports() (ports []int32, shut bool) {
	all := !c.has(tcpRoute)
	for _, r := range c.Spec.Rules {
		if r.Kind != tcpRoute {
			continue
		}
		if route, ok := c.specs.TCPRoute(r.Name); ok && isNamed(r, route) {
			ports = append(ports, route.Spec.Matches.Ports...)
			all = all || len(route.Spec.Matches.Ports) == 0
		}
	}
	if all {
		return nil, false
	}
	return ordered(ports), len(ports) == 0
}

func ordered(ports []int32) []int32 {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	return slices.Compact(ports)
}

// isNamed says whether a rule is about the matches of a TCPRoute, of which there is one.
func isNamed(r access.TrafficTargetRule, route *specs.TCPRoute) bool {
	return len(r.Matches) == 0 || slices.Contains(r.Matches, route.Spec.Matches.Name)
}

func (c *compiler) allow(a Allow) {
	a.Name, a.Sources = fmt.Sprintf("traffictarget/%s/%s/%s", c.Namespace, c.Name, a.Name), c.from
	c.out.Allows = append(c.out.Allows, a)
}

func (c *compiler) tcp(i int, r access.TrafficTargetRule, bytes Traffic, shut bool) {
	route, ok := c.specs.TCPRoute(r.Name)
	if !ok {
		c.missing(i, r)
		c.told(shut)
		return
	}
	for j, name := range r.Matches {
		if name != route.Spec.Matches.Name {
			c.problem(ReasonNotFound, "spec.rules[%d].matches[%d]: TCPRoute %s/%s has no match %q, so that it allows nothing: %s", i, j, c.Namespace, r.Name, name, naming(route))
		}
	}
	if isNamed(r, route) {
		c.allow(Allow{Name: fmt.Sprint(i), Ports: ordered(route.Spec.Matches.Ports), Traffic: bytes})
		return
	}
	c.told(shut)
}

// told adds to the last problem that requests may go to no port for it, if there are HTTPRouteGroups beside.
func (c *compiler) told(shut bool) {
	if last := len(c.out.Problems) - 1; shut && c.has(httpRouteGroup) {
		c.out.Problems[last].Message += "; until then no request is let in either, as beside TCPRoutes an HTTPRouteGroup is about their ports alone"
	}
}

// naming says how a rule names what a TCPRoute describes.
func naming(route *specs.TCPRoute) string {
	if route.Spec.Matches.Name == "" {
		return "take the names out, as its spec.matches has none"
	}
	return fmt.Sprintf("take the name out, as its one match is called %q", route.Spec.Matches.Name)
}

func (c *compiler) missing(i int, r access.TrafficTargetRule) {
	what := "create it, or name another"
	if c.specs.Namesake(r.Kind, r.Name) {
		what += "; the one of that name is of gateway.networking.k8s.io, which is another kind"
	}
	c.problem(ReasonNotFound, "spec.rules[%d].name: there is no %s.specs.smi-spec.io %s/%s, so that the rule allows nothing: %s", i, r.Kind, c.Namespace, r.Name, what)
}
