package opa_test

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
)

// ten is a policy of ten rules, as they are written by hand.
func ten() opa.Policy {
	says := &v1alpha1.Authorization{}
	for i := range 10 {
		says.Rules = append(says.Rules, v1alpha1.AuthorizationRule{
			Name: fmt.Sprint("r", i), From: []v1alpha1.AuthorizationSource{{ServiceAccount: &v1alpha1.ObjectName{Namespace: "shop", Name: fmt.Sprint("a", i)}}},
			To:   []v1alpha1.AuthorizationOperation{{Methods: []string{"GET"}, Paths: []v1alpha1.AuthorizationPath{{Prefix: fmt.Sprint("/p", i)}}}},
			When: []v1alpha1.AuthorizationCondition{{Attribute: "jwt.claims[team]", Operator: v1alpha1.AttributeIn, Attributes: []string{"destination.labels[team]"}}},
		})
	}
	return opa.Policy{Key: "shop/ten", Authorization: says, TrustDomain: "mesh.test"}
}

// BenchmarkCompile is what an edit of a policy costs, once.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		opa.Compile(ten())
	}
}

// BenchmarkFor is what it costs for each who is called and differs in what is asked for.
func BenchmarkFor(b *testing.B) {
	c := opa.Compile(ten())
	for b.Loop() {
		rules, _ := c.For(cart)
		opa.Requests([]opa.Level{{Rules: rules, Claims: "claims"}})
	}
}
