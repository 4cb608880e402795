package mesh

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// The Service of the operators without a revision, and the port of it at which their quota service answers.
const (
	OperatorService = "weft-xds"
	QuotaPort       = "grpc-quota"
)

const quotaPrefix = "quota/"

// QuotaName is the name of the filter that asks the quota service for a RouteConfiguration.
func QuotaName(routes string) string { return quotaPrefix + routes }

// IsQuota says whether an extension asks the quota service, by its name; routes is the RouteConfiguration.
func IsQuota(name string) (routes string, is bool) { return strings.CutPrefix(name, quotaPrefix) }

// The variants of the Cluster that the quota service is asked through: where a proxy has its files.
const (
	OfGateway = "gateway"
	OfSidecar = "sidecar"
)

func kindOfProxy(routes string) string {
	if strings.HasPrefix(routes, GatewayPrefix) {
		return OfGateway
	}
	return OfSidecar
}

// Quota is the Shared that asks the quota service for a RouteConfiguration: what those say that have all
// proxies count together.
func (m *Mesh) Quota(q *incr.Query, routes string) (out Shared) {
	r := quotaRoom()
	out = m.Shared(q, SharedName(r.Name, routes))
	out.Name = QuotaName(routes)
	out.Says = slices.DeleteFunc(out.Says, func(d room.Decided) bool { return !asks(r, d) })
	out.Policies = policyKeys(out.Says)
	return out
}

// shares has a chain have the filters that its Routes share.
func (m *Mesh) shares(q *incr.Query, c Chain) Chain {
	c.Shared, c.Counted = m.sharedSections(q, c.Routes), m.counts(q, c.Routes)
	c.Apart = m.apartAt(q, c.Routes)
	return c
}

// counts says whether somebody asks the quota service for a RouteConfiguration.
func (m *Mesh) counts(q *incr.Query, routes string) bool {
	r := quotaRoom()
	return slices.ContainsFunc(m.sharing(q, r, routes), func(d room.Decided) bool { return asks(r, d) })
}

func quotaRoom() room.Room {
	return policy.All[slices.IndexFunc(policy.All, func(r room.Room) bool { return r.Asking != nil })]
}

func asks(r room.Room, d room.Decided) bool {
	return r.Asking([]room.Decided{d}, room.Port{}) != nil
}

// QuotaOwner is the replica of the operator that counts for all. Every replica says the same, for it reads the same;
// nobody is elected.
func (m *Mesh) QuotaOwner(q *incr.Query) Endpoint {
	return m.longestThere(q, OperatorService, QuotaPort)
}

// longestThere is, of the pods of a Service of Weft's that are ready, or serve all the same, the one that has been there
// longest: who it is changes as seldom as can be.
func (m *Mesh) longestThere(q *incr.Query, service, port string) (found Endpoint) {
	svc, ok := m.Services.Get(q, key(v1alpha1.SystemNamespace, service))
	if !ok {
		return found
	}
	var oldest *corev1.Pod
	for _, e := range m.addressesOf(q, svc, port).usable() {
		var pod *corev1.Pod // unknown of one on its node's network
		if at := m.PodsAt.Get(q, e.Address); len(at) > 0 {
			pod, _ = m.Pods.Get(q, at[0])
		}
		if found.Address == "" || before(pod, oldest) {
			oldest, found = pod, e
		}
	}
	return found
}

func before(a, b *corev1.Pod) bool {
	if a == nil || b == nil {
		return a != nil
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name)) < 0
}
