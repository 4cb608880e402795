package envoy_test

import (
	"testing"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/extauth"
)

// rules reads rules as people write them in an HTTPRoute's spec.rules. A backendRef's cluster is its
// name, or for the name "missing" none.
func rules(t testing.TB, text string) []mesh.Rule {
	t.Helper()
	var specs []gwv1.HTTPRouteRule
	if err := yaml.UnmarshalStrict([]byte(text), &specs); err != nil {
		t.Fatalf("rules: %v", err)
	}
	var all []mesh.Rule
	for i, spec := range specs {
		rule := mesh.Rule{
			Origin:   mesh.Origin{Kind: mesh.HTTPRoute, Namespace: "shop", Name: "web", Index: i},
			Matches:  spec.Matches,
			Timeouts: spec.Timeouts,
			Retry:    spec.Retry,
		}
		if spec.SessionPersistence != nil {
			rule.Session = sessionOf(*spec.SessionPersistence)
		}
		if spec.Name != nil {
			rule.RuleName = string(*spec.Name)
		}
		if len(rule.Matches) == 0 {
			rule.Matches = []gwv1.HTTPRouteMatch{{}}
		}
		setFilters(&rule, spec.Filters)
		setBackends(&rule, spec.BackendRefs)
		all = append(all, rule)
	}
	return all
}

// sessionOf is one as the core reads it of what people write, if it has a name.
func sessionOf(s gwv1.SessionPersistence) *mesh.Session {
	out := &mesh.Session{Name: *s.SessionName, Header: s.Type != nil && *s.Type == gwv1.HeaderBasedSessionPersistence}
	if s.AbsoluteTimeout != nil {
		out.TTL, _ = time.ParseDuration(string(*s.AbsoluteTimeout)) // 0: none
	}
	return out
}

func setFilters(rule *mesh.Rule, filters []gwv1.HTTPRouteFilter) {
	for _, f := range filters {
		if f.ExternalAuth != nil {
			rule.Auth = externalAuth(f.ExternalAuth)
			continue
		}
		if f.RequestMirror == nil {
			rule.Filters = append(rule.Filters, f)
			continue
		}
		m := mesh.Mirror{Cluster: mesh.MirrorOf(string(f.RequestMirror.BackendRef.Name)), Numerator: 100, Denominator: 100}
		if f.RequestMirror.Percent != nil {
			m.Numerator = uint32(*f.RequestMirror.Percent)
		}
		if fraction := f.RequestMirror.Fraction; fraction != nil {
			m.Numerator, m.Denominator = uint32(fraction.Numerator), uint32(*fraction.Denominator)
		}
		rule.Mirrors = append(rule.Mirrors, m)
	}
}

// externalAuth asks at the cluster of its backendRef's name.
func externalAuth(f *gwv1.HTTPExternalAuthFilter) *extauth.Question {
	a := &extauth.Question{
		Cluster: string(f.BackendRef.Name), Authority: "authz.shop.svc:9000",
		GRPC: f.ExternalAuthProtocol == gwv1.HTTPRouteExternalAuthGRPCProtocol,
	}
	if c := f.GRPCAuthConfig; c != nil {
		a.RequestHeaders = c.AllowedRequestHeaders
	}
	if c := f.HTTPAuthConfig; c != nil {
		a.Path, a.RequestHeaders, a.ResponseHeaders = c.Path, c.AllowedRequestHeaders, c.AllowedResponseHeaders
	}
	if f.ForwardBody != nil {
		a.MaxBody = uint32(f.ForwardBody.MaxSize)
	}
	return a
}

func setBackends(rule *mesh.Rule, refs []gwv1.HTTPBackendRef) {
	for _, ref := range refs {
		weight := uint32(1)
		if ref.Weight != nil {
			weight = uint32(*ref.Weight)
		}
		switch {
		case weight == 0:
		case ref.Name == "missing":
			rule.Unresolved += weight
		default:
			rule.Backends = append(rule.Backends, mesh.Backend{Cluster: rule.Cluster(string(ref.Name)), Weight: weight, Filters: ref.Filters})
		}
	}
}
