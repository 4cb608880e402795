package rls

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/quota"
)

// BenchmarkQuestion is a question over the wire, as proxies ask: by TLS, many at once on one connection. The
// client's part of the work is in it.
func BenchmarkQuestion(b *testing.B) {
	client := serve(b, openDoor(), quota.Limit{ID: "a", Requests: 1000, Per: time.Second, Burst: 1000, By: []quota.Property{{}}})
	ctx := as(b.Context(), "who I am")
	if _, err := client.ShouldRateLimit(ctx, question("warm")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.ShouldRateLimit(ctx, question("a user")); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkAnswer is what of that is not gRPC's: to read the question, decide and write the answer.
func BenchmarkAnswer(b *testing.B) {
	table := quota.New()
	table.SetPolicy("shop/p", []quota.Limit{{ID: "a", Requests: 1000, Per: time.Second, Burst: 1000, Told: true, By: []quota.Property{{}}}})
	table.SetPlace("port", []string{"shop/p"})
	table.See("port", "web", true)
	who, r := quota.Who{Scopes: []string{"web"}}, question("a user")
	b.ReportAllocs()
	for b.Loop() {
		told(table.Decide(time.Since(begun), r.Domain, who, asked(r)))
	}
}
