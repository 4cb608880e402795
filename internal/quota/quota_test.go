package quota

import (
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"
)

const at = "gateway/shop/web/80"

var proxy = Who{Scopes: []string{"shop/web"}}

// counting is a Table with one policy's limits, which the proxies of one Gateway meet.
func counting(limits ...Limit) *Table {
	t := New()
	t.SetPolicy("shop/p", limits)
	t.SetPlace(at, []string{"shop/p"})
	t.See(at, "shop/web", true)
	return t
}

func asks(id string, values ...string) []Asked {
	return []Asked{{Policy: "shop/p", ID: id, Values: values}}
}

// lets is how many of some requests pass at a time.
func lets(t *Table, now time.Duration, n int, asked ...Asked) (passed int) {
	for range n {
		if a := t.Decide(now, at, proxy, asked); !a.Refused {
			passed++
		}
	}
	return passed
}

func TestOneBucket(t *testing.T) {
	table := counting(Limit{ID: "a", Requests: 10, Per: time.Second, Burst: 5})
	now := time.Hour
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 5}, {0, 0}, {99 * time.Millisecond, 0}, {2 * time.Millisecond, 1}, {200 * time.Millisecond, 2}, {time.Hour, 5}, {-time.Minute, 0}} {
		now += step.after
		if got := lets(table, now, 20, asks("a")...); got != step.want {
			t.Errorf("after %v: %d pass, want %d", step.after, got, step.want)
		}
	}
}

func TestLevel(t *testing.T) {
	table := counting(Limit{ID: "a", Requests: 1, Per: 10 * time.Second, Burst: 2, Told: true})
	want := []Answer{
		{Counted: 1, Nearest: Level{Size: 2, Left: 1, Told: true}},
		{Counted: 1, Nearest: Level{Size: 2, Left: 0, Reset: 10 * time.Second, Told: true}},
		{Counted: 1, Nearest: Level{Size: 2, Left: 0, Reset: 6 * time.Second, Told: true}, Refused: true},
	}
	for i, now := range []time.Duration{0, 0, 4 * time.Second} {
		if got := table.Decide(now, at, proxy, asks("a")); got != want[i] {
			t.Errorf("question %d: %+v, want %+v", i, got, want[i])
		}
	}
}

// TestAllOrNone: a request that one limit turns away takes no token of another, and is told of that one.
func TestAllOrNone(t *testing.T) {
	table := counting(Limit{ID: "a", Requests: 3, Per: time.Hour, Burst: 3}, Limit{ID: "b", Requests: 1, Per: time.Hour, Burst: 1, By: []Property{{}}})
	both := append(asks("a"), asks("b", "x")...)
	if got := lets(table, 0, 10, both...); got != 1 {
		t.Errorf("%d pass by both", got)
	}
	if a := table.Decide(0, at, proxy, both); !a.Refused || a.Nearest.Size != 1 {
		t.Errorf("refused: %+v", a)
	}
	if got := lets(table, 0, 10, asks("a")...); got != 2 {
		t.Errorf("%d tokens of the first are left, want 2", got)
	}
}

func TestByValues(t *testing.T) {
	table := counting(
		Limit{ID: "user", Requests: 1, Per: time.Hour, Burst: 1, By: []Property{{}, {Value: "POST"}}},
		Limit{ID: "caller", Requests: 1, Per: time.Hour, Burst: 1, By: []Property{{Caller: true}}})
	for i, c := range []struct {
		asked []Asked
		want  int
	}{
		{asks("user", "a", "POST"), 1}, {asks("user", "a", "POST"), 0}, {asks("user", "b", "POST"), 1}, {asks("user", "aP", "OST"), 2}, {asks("user", "c", "GET"), 2},
		{asks("caller", "one"), 1}, {asks("caller", "two"), 1},
	} {
		if got := lets(table, 0, 2, c.asked...); got != c.want {
			t.Errorf("%d %v: %d pass, want %d", i, c.asked, got, c.want)
		}
	}
	for n, want := range []bool{false, true} {
		who := Who{Scopes: proxy.Scopes, Caller: "shop/web"}
		if a := table.Decide(0, at, who, asks("caller", fmt.Sprint("whoever ", n))); a.Refused != want {
			t.Errorf("caller by token, request %d: %+v", n, a)
		}
	}
}

// TestWho: what is not there, or not for who asks, takes nobody's tokens.
func TestWho(t *testing.T) {
	table := counting(Limit{ID: "a", Requests: 1, Per: time.Hour, Burst: 1})
	table.SetPolicy("shop/q", []Limit{{ID: "a", Requests: 1, Per: time.Hour, Burst: 1}})
	for name, a := range map[string]Answer{
		"another place":     table.Decide(0, "elsewhere", proxy, asks("a")),
		"another's place":   table.Decide(0, at, Who{Scopes: []string{"shop/other"}}, asks("a")),
		"no such limit":     table.Decide(0, at, proxy, asks("b")),
		"values too many":   table.Decide(0, at, proxy, asks("a", "x")),
		"not of this place": table.Decide(0, at, proxy, []Asked{{Policy: "shop/q", ID: "a"}}),
	} {
		if want := (Answer{Unknown: 1}); a != want {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if got := lets(table, 0, 3, asks("a")...); got != 1 {
		t.Errorf("%d pass in the end", got)
	}
	table.See(at, "shop/web", false)
	table.SetPlace(at, nil)
	table.SetPolicy("shop/p", nil)
	if got := table.Decide(0, at, proxy, asks("a")); got.Unknown != 1 || table.Buckets() != 0 || len(table.places) != 0 {
		t.Errorf("when all is gone: %+v, %d buckets, %d places", got, table.Buckets(), len(table.places))
	}
}

// TestChange: a limit that counts the same keeps its buckets, whatever becomes of its numbers and of others.
func TestChange(t *testing.T) {
	first, second := Limit{ID: "a", Requests: 10, Per: time.Hour, Burst: 10}, Limit{ID: "b", Requests: 3, Per: time.Hour, Burst: 3}
	table := counting(first, second)
	lets(table, 0, 4, asks("a")...)
	lets(table, 0, 1, asks("b")...)
	first.Burst = 5
	table.SetPolicy("shop/p", []Limit{{ID: "new", Requests: 1, Per: time.Hour}, second, first})
	if a, b := lets(table, 0, 20, asks("a")...), lets(table, 0, 20, asks("b")...); a != 5 || b != 2 {
		t.Errorf("%d and %d tokens are left, want 5 and 2", a, b)
	}
	table.SetPolicy("shop/p", []Limit{second})
	table.SetPolicy("shop/p", []Limit{second, first})
	if got := lets(table, 0, 20, asks("a")...); got != 5 {
		t.Errorf("a limit that is back has %d tokens, want 5", got)
	}
}

// TestMemory: whatever values there are, no more than so many buckets are kept, and those that are full are the
// first to go.
func TestMemory(t *testing.T) {
	table := counting(Limit{ID: "a", Requests: 1, Per: time.Second, Burst: 1, By: []Property{{}}})
	for n := range maxValues * 9 / 8 {
		table.Decide(0, at, proxy, asks("a", fmt.Sprint(n)))
	}
	if got := table.Buckets(); got > maxValues || got < maxValues/2 {
		t.Errorf("%d buckets", got)
	}
	for n := range maxValues / 2 {
		table.Decide(time.Second, at, proxy, asks("a", fmt.Sprint("later ", n)))
	}
	kept := table.Buckets()
	if got := table.policies["shop/p"][0].buckets(); got != kept || got > maxValues {
		t.Errorf("%d buckets are there, %d are told of", got, kept)
	}
}

// TestAtOnce: of many who ask at once as many pass as there are tokens, while limits change.
func TestAtOnce(t *testing.T) {
	limit := Limit{ID: "a", Requests: 1, Per: 24 * time.Hour, Burst: 1000}
	table := counting(limit)
	var passed [8]int
	var all sync.WaitGroup
	for i := range passed {
		all.Go(func() { passed[i] = lets(table, 0, 500, asks("a")...) })
	}
	for n := range 100 {
		table.SetPolicy("shop/p", []Limit{limit, {ID: fmt.Sprint(n), Requests: 1, Per: time.Second}})
		table.See(at, fmt.Sprint(n), true)
	}
	all.Wait()
	sum := 0
	for _, n := range passed {
		sum += n
	}
	if sum != 1000 {
		t.Errorf("%d pass, want 1000", sum)
	}
}

// TestLongRun: however requests are spread over time and proxies, no more pass in any time than come back in it
// and were there, and nearly as many if enough are asked for.
func TestLongRun(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		limit := Limit{ID: "a", Requests: 1 + r.Intn(1000), Per: time.Duration(1+r.Intn(100)) * time.Second, Burst: 1 + r.Intn(100)}
		table := counting(limit)
		rate := float64(limit.Requests) / limit.Per.Seconds()
		var now time.Duration
		passed := 0
		for range 20_000 {
			now += time.Duration(r.ExpFloat64() * float64(time.Second) / (2 * rate))
			passed += lets(table, now, 1, asks("a")...)
		}
		most := rate*now.Seconds() + float64(limit.Burst)
		if float64(passed) > most+1 || float64(passed) < 0.8*rate*now.Seconds() {
			t.Errorf("seed %d: %d of %.0f pass: %+v", seed, passed, most, limit)
		}
	}
}
