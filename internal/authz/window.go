package authz

import (
	"sync"
)

// Window holds the newest Records, as many as have room. It is safe for concurrent use.
//
// When it is full, what is oldest of the workload that has most in it goes: who is denied often pushes out its own, and
// keeps nobody else from being explained.
type Window struct {
	records, bytes int // at most

	mu      sync.Mutex
	byID    map[string][]*held
	owners  map[string]*owner
	count   int
	size    int
	dropped uint64
}

type held struct {
	Record
	size int
}

// owner is one workload's share, the oldest first.
type owner struct {
	held []*held
	size int
}

// NewWindow returns one that holds so many Records, of so many bytes together.
func NewWindow(records, bytes int) *Window {
	return &Window{records: records, bytes: bytes, byID: map[string][]*held{}, owners: map[string]*owner{}}
}

// Add takes in a Record of a size. It says whether there was room for it at all.
func (w *Window) Add(r Record, size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if size > w.bytes || w.records == 0 {
		w.dropped++
		return false
	}
	for w.count+1 > w.records || w.size+size > w.bytes {
		w.evict()
	}
	h, of := &held{r, size}, w.owners[r.Proxy.Workload()]
	if of == nil {
		of = &owner{}
		w.owners[r.Proxy.Workload()] = of
	}
	of.held, of.size = append(of.held, h), of.size+size
	w.byID[r.ID] = append(w.byID[r.ID], h)
	w.count, w.size = w.count+1, w.size+size
	return true
}

// evict drops the oldest of who has most.
func (w *Window) evict() {
	var largest *owner
	for _, o := range w.owners {
		if largest == nil || o.size > largest.size {
			largest = o
		}
	}
	old := largest.held[0]
	largest.held[0] = nil
	largest.held, largest.size = largest.held[1:], largest.size-old.size
	if len(largest.held) == 0 {
		delete(w.owners, old.Proxy.Workload())
	}
	var left []*held
	for _, h := range w.byID[old.ID] {
		if h != old {
			left = append(left, h)
		}
	}
	if w.byID[old.ID] = left; len(left) == 0 {
		delete(w.byID, old.ID)
	}
	w.count, w.size, w.dropped = w.count-1, w.size-old.size, w.dropped+1
}

// Find are the Records of a request, in the order in which they came.
func (w *Window) Find(id string) (out []Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.byID[id] {
		out = append(out, h.Record)
	}
	return out
}

// WindowLevel is how full a Window is, and how many Records it has dropped.
type WindowLevel struct {
	Records int    `json:"records"`
	Bytes   int    `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

// Level is that of the Window now.
func (w *Window) Level() WindowLevel {
	w.mu.Lock()
	defer w.mu.Unlock()
	return WindowLevel{w.count, w.size, w.dropped}
}
