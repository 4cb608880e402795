package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// What proxies do not decide of authorization they ask weft authz, each that has such guards through a Cluster of its own:
//
//	guards ─→ not sure ─→ the Cluster Checks ─→ any pod of weft authz
//
// What is asked goes with the question, so that any pod answers the same, whatever it has heard of policies.

// Checks is the name of that Cluster. Its variants are those of the quota service's.
const Checks = "weft-authz-checks"

// CheckAuthority is the name that pods of weft authz are asked by.
const CheckAuthority = AuthzService + "." + v1alpha1.SystemNamespace + ".svc"

// checkWants are what a proxy needs to ask about what some guards do not decide.
func checkWants(scope, kind string, said []room.Decided) []string {
	if !slices.ContainsFunc(said, authorization.Asks) {
		return nil
	}
	return []string{Want{scope, KindCluster, Checks, kind}.Key(), want(scope, KindEndpoints, Checks)}
}

// ChecksAt are the pods of weft authz that are ready. They come apart from the Cluster: where a Cluster changes, Envoy ends
// what is being asked through it.
func (m *Mesh) ChecksAt(q *incr.Query) Endpoints {
	out := Endpoints{Cluster: Checks}
	if svc, ok := m.Services.Get(q, key(v1alpha1.SystemNamespace, AuthzService)); ok {
		out.Addresses = m.addressesOf(q, svc, CheckPort).usable()
	}
	return out
}

// unchecked says that nobody is there to be asked about what proxies do not decide of a policy.
func (m *Mesh) unchecked(q *incr.Query, p *v1alpha1.MeshPolicy) (out Verdict) {
	m.eachLaw(q, p, func(r room.Room, l room.Law) {
		if l.Asked() && !isShadow(p) && len(m.ChecksAt(q).Addresses) == 0 {
			out = first(out, wrong(reasonServerUnavailable, "spec.%s: of some of its rules proxies ask weft authz, and no pod of that is ready in %s: install it with dist/authz.yaml, or look at its pod. Until then whom such a rule may be about is answered 403", r.Name, v1alpha1.SystemNamespace))
		}
	})
	return out
}
