package core

import (
	"time"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
)

// moments are those that policies wait for. One that has passed stays so as long as some policy waits for it:
// what has ended does not begin again because a clock is set back.
//
//	mesh.Moments → awaited ─(the clock)→ tables.Passed, an input → mesh
type moments struct {
	now     func() time.Time
	awaited map[string]time.Time // by their keys; not passed yet
	alarm   <-chan time.Time     // when to look at the clock; nil: not known
	struck  bool                 // some that are awaited have passed
	glance  time.Duration        // see glance
}

// glance is how often the clock is looked at while something is awaited: it may be set forward, and a
// machine may sleep, of which no timer hears.
const glance = 5 * time.Second

func newMoments() moments {
	return moments{now: time.Now, awaited: map[string]time.Time{}, glance: glance}
}

// publishMoments keeps what policies wait for. What has passed already is known within the commit in which
// its policy comes: no proxy hears of what has ended before the operator began.
func (c *Core) publishMoments() {
	awaited := mesh.Memo(c.mesh, "moment", func(*incr.Query, string) struct{} { return struct{}{} })
	incr.Keep(awaited, func(k string, _ struct{}, has bool) {
		c.moments.alarm = nil
		at, err := mesh.ParseMoment(k)
		switch {
		case !has || err != nil:
			delete(c.moments.awaited, k)
			c.tables.Passed.Delete(k)
		case c.moments.over(at):
			c.tables.Passed.Set(k, struct{}{})
		default:
			c.moments.awaited[k] = at
		}
	}, c.mesh.Moments)
}

// over says whether a moment has passed, by the time of day.
func (m *moments) over(at time.Time) bool { return !m.now().Before(at) }

// next delivers when the clock is to be looked at; never while nothing is awaited.
func (m *moments) next() <-chan time.Time {
	if m.alarm == nil && len(m.awaited) > 0 {
		wait := m.glance
		for _, at := range m.awaited {
			wait = min(wait, at.Sub(m.now()))
		}
		m.alarm = time.After(max(wait, 0))
	}
	return m.alarm
}

// strike looks at the clock, and says whether there is something to commit.
func (m *moments) strike() bool {
	m.alarm = nil
	for _, at := range m.awaited {
		m.struck = m.struck || m.over(at)
	}
	return m.struck
}

// pass turns the moments that have passed into inputs, inside a commit.
func (c *Core) pass() {
	c.moments.struck = false
	for k, at := range c.moments.awaited {
		if c.moments.over(at) {
			delete(c.moments.awaited, k)
			c.tables.Passed.Set(k, struct{}{})
		}
	}
}
