package authz

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Call is what a Tally tells calls apart by.
type Call struct {
	Policy string `json:"policy"` // in Shadow, by its key
	Rule   string `json:"rule,omitempty"`
	Called string `json:"called"` // the workload, namespace/serviceAccount
	Port   int32  `json:"port,omitempty"`
	Route  string `json:"route,omitempty"` // of a Gateway
	Method string `json:"method,omitempty"`
	Caller string `json:"caller"`
}

// Counted is how often a policy would have denied a Call.
type Counted struct {
	Call
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
	ID    string    `json:"lastID"` // of the newest such request
	Path  string    `json:"lastPath,omitempty"`
}

// Tally counts what policies in Shadow would have denied. It is safe for concurrent use.
type Tally struct {
	most int

	mu      sync.Mutex
	rows    map[Call]*Counted
	dropped map[string]uint64 // by policy: of Calls for which there was no room
}

// maxOverflowing is how many policies have a count of their own of what found no room.
const maxOverflowing = 1_000

// NewTally returns one that tells so many Calls apart.
func NewTally(most int) *Tally {
	return &Tally{most: most, rows: map[Call]*Counted{}, dropped: map[string]uint64{}}
}

// Add counts a Record that a policy in Shadow would have denied.
func (t *Tally) Add(r Record) {
	if r.Shadow == nil || r.Shadow.Result != Denied {
		return
	}
	call := Call{
		Policy: r.Shadow.Policy, Rule: r.Shadow.Rule, Called: r.Proxy.Workload(), Port: r.Input.Destination.Port,
		Method: r.Method(), Caller: r.Caller(),
	}
	if r.Law != nil && r.Law.Gateway {
		call.Route, call.Port = r.Route, 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[call]
	if row == nil {
		if len(t.rows) >= t.most {
			if _, known := t.dropped[call.Policy]; known || len(t.dropped) < maxOverflowing {
				t.dropped[call.Policy]++
			}
			return
		}
		row = &Counted{Call: call}
		t.rows[call] = row
	}
	row.Count++
	row.Last, row.ID = r.Time, r.ID
	if r.Input.Request != nil {
		row.Path = r.Input.Request.Path
	}
}

// Of are the Calls that a policy would have denied, the most frequent first; and how many requests are in none of
// them, for want of room.
func (t *Tally) Of(policy string) (out []Counted, others uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for row := range maps.Values(t.rows) {
		if row.Policy == policy {
			out = append(out, *row)
		}
	}
	slices.SortFunc(out, func(a, b Counted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Called, b.Called), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Method, b.Method), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Rule, b.Rule))
	})
	return out, t.dropped[policy]
}

// Policies are those of which something is counted, ordered.
func (t *Tally) Policies() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string]bool{}
	for call := range t.rows {
		found[call.Policy] = true
	}
	return slices.Sorted(maps.Keys(found))
}
