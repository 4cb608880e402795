package quota

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards = 16 // of a limit by values, so that its buckets are not all behind one lock

	// maxValues is how many buckets of one limit are kept, and maxBuckets of all together, some 40 B each. One
	// that is full is as good as one that is not there, so the first to go are those.
	maxValues  = 100_000
	maxBuckets = 1_000_000
)

// limit is a Limit with its buckets.
type limit struct {
	Limit
	rate   float64 // tokens that come back in a nanosecond
	size   float64
	shared []shard // one, if all requests share a bucket
}

// shard is some buckets of a limit, by the hashes of their values.
type shard struct {
	mu sync.Mutex
	of map[uint64]bucket
}

// bucket is how many tokens there were at a time.
type bucket struct {
	tokens float64
	at     time.Duration
}

func find(all []*limit, id string) *limit {
	for _, l := range all {
		if l.ID == id {
			return l
		}
	}
	return nil
}

func (t *Table) newLimit(l Limit) *limit {
	n := shards
	if len(l.By) == 0 {
		n = 1
	}
	return &limit{shared: make([]shard, n)}
}

func (l *limit) set(to Limit) {
	l.Limit = to
	l.rate, l.size = float64(to.Requests)/float64(max(to.Per, 1)), float64(max(to.Burst, 1))
}

func (l *limit) buckets() (n int) {
	for i := range l.shared {
		n += len(l.shared[i].of)
	}
	return n
}

func (l *limit) shard(key uint64) *shard { return &l.shared[key%uint64(len(l.shared))] }

// spread has the place of a value count: it is odd, and 2^64 by the golden ratio.
const spread = 0x9e3779b97f4a7c15

// key is of the bucket of some values; counts is false if the limit is not about those.
func (l *limit) key(seed maphash.Seed, who Who, values []string) (key uint64, counts bool) {
	for i, p := range l.By {
		value := values[i]
		if p.Caller && who.Caller != "" {
			value = who.Caller
		}
		if p.Value != "" && p.Value != value {
			return 0, false
		}
		key = key*spread + maphash.String(seed, value)
	}
	return key, true
}

// grip is a bucket, whether or not it is there yet.
type grip struct {
	*limit
	*shard
	key uint64
}

// take takes a token, if there is one.
func (g grip) take(t *Table, now time.Duration) (level Level, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, is := g.of[g.key]
	if !is {
		g.makeRoom(t, now)
		b = bucket{g.size, now}
		t.total.Add(1)
	}
	b = b.filled(g.limit, now)
	if ok = b.tokens >= 1; ok {
		b.tokens--
	}
	g.of[g.key] = b
	level = Level{Size: int(g.size), Left: int(b.tokens), Told: g.Told}
	if b.tokens < 1 {
		level.Reset = time.Duration((1 - b.tokens) / g.rate)
	}
	return level, ok
}

func (g grip) giveBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b, is := g.of[g.key]; is {
		b.tokens++
		g.of[g.key] = b
	}
}

// filled is a bucket after the time until now, no fuller than its limit lets it be.
func (b bucket) filled(l *limit, now time.Duration) bucket {
	if now > b.at { // of two decisions at once the later may come first
		b.tokens += float64(now-b.at) * l.rate
		b.at = now
	}
	b.tokens = min(b.tokens, l.size)
	return b
}

// makeRoom leaves room for one more bucket: where there is none, it drops those that are full or, if none is,
// an eighth of all.
func (g grip) makeRoom(t *Table, now time.Duration) {
	if g.of == nil {
		g.of = map[uint64]bucket{}
	}
	had := len(g.of)
	if had < maxValues/shards && (had == 0 || t.total.Load() < maxBuckets) {
		return
	}
	for key, b := range g.of {
		if b.filled(g.limit, now).tokens >= g.size {
			delete(g.of, key)
		}
	}
	for key := range g.of {
		if len(g.of) <= had-max(had/8, 1) {
			break
		}
		delete(g.of, key)
	}
	t.total.Add(int64(len(g.of) - had))
}
