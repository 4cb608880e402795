package core

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// teams are those of workloads, and of policies: each policy is about the workloads of one.
const teams = 10

// lawTown is a mesh of workloads, one pod each, and as many policies that say who may call those of a team: with 1,000
// there are 100,000 pairs of a policy and a workload that it is about.
func lawTown(n int) town {
	c := town{&city{Core: New(xds.NewStore(mesh.BasesOf), xds.NewFacts())}}
	c.weigh()
	c.Tables().Graph.Commit(func() { c.settle(c.Tables(), n) })
	c.Commit()
	return c
}

func (c town) settle(t *cluster.Tables, n int) {
	for i := range n {
		t.Services.Set(shopKey(i), c.meshed("shop", i))
		t.Pods.Set(shopKey(i), c.member(i))
		t.MeshPolicies.Set(shopKey(i), c.law(i, 0))
	}
}

func (c town) member(i int) *corev1.Pod {
	p := c.pod("shop", shopName(i), shopName(i), podIP("shop", i, 0))
	p.Labels["team"] = fmt.Sprint("team-", i%teams)
	return p
}

// law lets some callers read some paths, and people of the team those of their own.
func (c town) law(i, version int) *v1alpha1.MeshPolicy {
	p := &v1alpha1.MeshPolicy{ObjectMeta: c.in("shop", shopName(i))}
	p.Spec.TargetRefs = []v1alpha1.PolicyTarget{{Pods: &v1alpha1.PodSelection{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprint("team-", i%teams)}}}}}
	p.Spec.Authorization = &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{
		{
			Name: "reads", From: []v1alpha1.AuthorizationSource{{ServiceAccount: &v1alpha1.ObjectName{Namespace: "shop", Name: shopName(i + 1)}}},
			To: []v1alpha1.AuthorizationOperation{{Methods: []string{"GET"}, Paths: []v1alpha1.AuthorizationPath{{Prefix: fmt.Sprintf("/p%d/%d", i, version)}}}},
		},
		{Name: "own", When: []v1alpha1.AuthorizationCondition{{Attribute: "jwt.claims[team]", Operator: v1alpha1.AttributeIn, Attributes: []string{"destination.labels[team]"}}}},
	}}
	return p
}

// BenchmarkLawsFromScratch: all policies are compiled for all workloads that they are about.
func BenchmarkLawsFromScratch(b *testing.B) {
	for b.Loop() {
		lawTown(1000)
	}
}

// BenchmarkLaw: one of the policies is edited. It is about 100 workloads.
func BenchmarkLaw(b *testing.B) {
	c := lawTown(1000)
	n := 0
	for b.Loop() {
		n++
		c.Tables().Graph.Commit(func() { c.Tables().MeshPolicies.Set(shopKey(n%1000), c.law(n%1000, n)) })
		c.Commit()
	}
	b.ReportMetric(float64(c.bytes), "wire-B/op")
}

// court is a lawTown of which no proxy is told: it is known of each workload what policies come to there.
type court struct {
	town
	tables   *cluster.Tables
	policies int // of the pairs of the last commit
}

func newCourt(n int) *court {
	c := &court{town: town{&city{}}, tables: cluster.NewTables()}
	m, scopes := mesh.New(c.tables), incr.NewSet[string](c.tables.Graph)
	compiled := incr.NewMemo(c.tables.Graph, "compiled", func(_, _ mesh.InboundGuards) bool { return false }, m.InboundGuards)
	incr.Keep(compiled, func(_ string, g mesh.InboundGuards, _ bool) { c.policies += len(g.Policies()) }, scopes)
	c.tables.Graph.Commit(func() { c.settle(c.tables, n) })
	c.tables.Graph.Commit(func() {
		for i := range n {
			scopes.Add(m.PodIdentity(nil, shopKey(i)).Scope)
		}
	})
	return c
}

func (c *court) edit(i, version int) {
	c.policies = 0
	c.tables.Graph.Commit(func() { c.tables.MeshPolicies.Set(shopKey(i), c.law(i, version)) })
}

// BenchmarkLawsCompiled: as BenchmarkLawsFromScratch, without what proxies are told.
func BenchmarkLawsCompiled(b *testing.B) {
	for b.Loop() {
		if c := newCourt(1000); c.policies != 100_000 {
			b.Fatalf("%d pairs", c.policies)
		}
	}
}

// BenchmarkLawCompiled: as BenchmarkLaw, without what proxies are told.
func BenchmarkLawCompiled(b *testing.B) {
	c, n := newCourt(1000), 0
	for b.Loop() {
		n++
		c.edit(n%1000, n)
		if c.policies != 10_000 {
			b.Fatalf("%d pairs", c.policies)
		}
	}
}
