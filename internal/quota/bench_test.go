package quota

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// BenchmarkDecide is a decision of the table, and BenchmarkLimiters one of what Go has: a map of rate.Limiters
// behind a lock. Both are asked by many at once, about one bucket or about many.
func BenchmarkDecide(b *testing.B) {
	for name, users := range benchmarked {
		b.Run(name, func(b *testing.B) {
			table := counting(Limit{ID: "a", Requests: 1000, Per: time.Second, Burst: 1000, By: []Property{{}}})
			begun := time.Now()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				asked := []Asked{{Policy: "shop/p", ID: "a", Values: make([]string, 1)}}
				for n := 0; pb.Next(); n++ {
					asked[0].Values[0] = users[n%len(users)]
					table.Decide(time.Since(begun), at, proxy, asked)
				}
			})
		})
	}
}

func BenchmarkLimiters(b *testing.B) {
	for name, users := range benchmarked {
		b.Run(name, func(b *testing.B) {
			var mu sync.Mutex
			of := map[string]*rate.Limiter{}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					user := users[n%len(users)]
					mu.Lock()
					l := of[user]
					if l == nil {
						l = rate.NewLimiter(1000, 1000)
						of[user] = l
					}
					mu.Unlock()
					l.Allow()
				}
			})
		})
	}
}

var benchmarked = map[string][]string{"1user": {"user"}, "50000users": names(50_000)}

func names(n int) (out []string) {
	for i := range n {
		out = append(out, "user-"+strconv.Itoa(i))
	}
	return out
}
