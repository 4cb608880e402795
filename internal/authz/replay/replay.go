// Package replay has new policies decide anew what is in a decision log.
//
//	lines → what policies said then, and the decisions by them → Court of why, with new ones in their place → Outcome
package replay

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/why"
)

// most is how many kinds of calls an Outcome tells apart.
const most = 10_000

// Change is a kind of call that new policies decide otherwise.
type Change struct {
	Now    authz.Verdict `json:"now"`
	Called string        `json:"called"`
	Port   int32         `json:"port,omitempty"`
	Route  string        `json:"route,omitempty"` // of a Gateway
	Method string        `json:"method,omitempty"`
	Caller string        `json:"caller"`
}

// Changed is how often there was one.
type Changed struct {
	Change
	Count uint64 `json:"count"`
	ID    string `json:"lastID"`
	Path  string `json:"lastPath,omitempty"`
}

// Outcome is what new policies make of decisions.
type Outcome struct {
	Decisions uint64            `json:"decisions"`
	Same      uint64            `json:"same"`
	Changed   []Changed         `json:"changed"`
	Others    uint64            `json:"others,omitempty"`  // of more kinds of calls than are told apart
	Untold    map[string]uint64 `json:"untold,omitempty"`  // decisions that cannot be made anew, by why
	Unasked   []string          `json:"unasked,omitempty"` // new policies that no decision was by
}

// Replay decides anew. It is told lines one by one.
type Replay struct {
	replaced map[string]*v1alpha1.Authorization // by key
	asked    map[string]bool                    // of these
	said     map[string]*v1alpha1.Authorization // by digest
	rows     map[Change]*Changed
	out      Outcome
}

// New is one in which policies, by their keys, say something else than they did.
func New(replaced map[string]*v1alpha1.Authorization) *Replay {
	r := &Replay{replaced: replaced, asked: map[string]bool{}, said: map[string]*v1alpha1.Authorization{}, rows: map[Change]*Changed{}}
	for _, says := range replaced {
		r.said[authz.Digest(says)] = says
	}
	r.out.Untold = map[string]uint64{}
	return r
}

// Take reads one line.
func (p *Replay) Take(_ int, line []byte) error {
	e, _, _, err := authz.ParseLine(line)
	switch {
	case err != nil:
		return err
	case e.Policy != nil && e.Policy.Authorization != nil:
		p.said[authz.Digest(e.Policy.Authorization)] = e.Policy.Authorization
	case e.Decision != nil:
		return p.decide(*e.Decision)
	}
	return nil
}

func (p *Replay) decide(r authz.Record) error {
	p.out.Decisions++
	switch {
	case r.Law == nil, r.Verdict == authz.Denied && r.Section != "authorization":
		p.out.Untold["decided by something else than the section authorization"]++
		return nil
	case len(r.Cut) > 0:
		p.out.Untold["a part of the request is not recorded"]++
		return nil
	case r.Rule == opa.Ambiguous || r.Rule == opa.Repeated:
		p.out.Untold["of a form that no policy lets in"]++
		return nil
	}
	anew, lacks := p.anew(r)
	if lacks != "" {
		p.out.Untold[lacks]++
		return nil
	}
	allowed, known, err := why.Judged(anew, p.said)
	switch {
	case err != nil:
		return fmt.Errorf("decide request %s anew: %w", r.ID, err)
	case !known:
		p.out.Untold["what a policy said then, or what was in a ConfigMap that it read, is not in the log"]++
	case allowed == (r.Verdict == authz.Allowed):
		p.out.Same++
	default:
		p.changed(r, allowed)
	}
	return nil
}

// anew is a decision by the new policies in the place of the former, which are enforced then. What they ask for that
// was not recorded, as the former did not, keeps it from being made: lacks says what.
func (p *Replay) anew(r authz.Record) (out authz.Record, lacks string) {
	law := *r.Law
	law.Levels = nil
	for _, l := range r.Law.Levels {
		l.Policies = slices.Clone(l.Policies)
		for i, old := range l.Policies {
			says, is := p.replaced[old.Key]
			if !is {
				continue
			}
			p.asked[old.Key] = true
			if lacks := unrecorded(says, r); lacks != "" {
				return r, lacks
			}
			l.Policies[i] = authz.Policy{Key: old.Key, Digest: authz.Digest(says)}
		}
		law.Levels = joined(law.Levels, l)
	}
	r.Law = &law
	return r, ""
}

// joined are levels and one more, whose policies that are enforced are beside those of the same level: what was in
// Shadow went by claims of its own, and goes by theirs now.
func joined(levels []authz.Level, l authz.Level) []authz.Level {
	at := slices.IndexFunc(levels, func(o authz.Level) bool { return o.Name == l.Name && slices.ContainsFunc(o.Policies, enforced) })
	if at < 0 || !slices.ContainsFunc(l.Policies, enforced) {
		return append(levels, l)
	}
	levels[at].Policies = append(levels[at].Policies, l.Policies...)
	return levels
}

func enforced(p authz.Policy) bool { return !p.Shadow }

// unrecorded is what a policy asks for by name that a record does not have, as nobody asked for it then; "": nothing.
func unrecorded(says *v1alpha1.Authorization, r authz.Record) string {
	if opa.ReadsConfigMaps(says) {
		return "the new policy reads a ConfigMap, of which nothing is known here"
	}
	names := opa.NamesIn(says)
	for _, n := range names.Headers {
		if !slices.Contains(r.Law.Headers, n) {
			return fmt.Sprintf("request.headers[%s], which the new policy asks for, is not recorded", n)
		}
	}
	for _, n := range names.Claims {
		if !slices.Contains(r.Law.Claims, n) && len(r.Tokens) > 0 {
			return fmt.Sprintf("jwt.claims[%s], which the new policy asks for, is not recorded: see decisionLog.claims of the Mesh", n)
		}
	}
	for _, n := range names.Labels {
		if _, is := r.Law.Labels[n]; !is {
			return fmt.Sprintf("destination.labels[%s], which the new policy asks for, is not recorded", n)
		}
	}
	return ""
}

func (p *Replay) changed(r authz.Record, allowed bool) {
	c := Change{Now: authz.Denied, Called: r.Proxy.Workload(), Port: r.Input.Destination.Port, Method: r.Method(), Caller: r.Caller()}
	if allowed {
		c.Now = authz.Allowed
	}
	if r.Law.Gateway {
		c.Route, c.Port = r.Route, 0
	}
	row := p.rows[c]
	if row == nil {
		if len(p.rows) == most {
			p.out.Others++
			return
		}
		row = &Changed{Change: c}
		p.rows[c] = row
	}
	row.Count, row.ID = row.Count+1, r.ID
	if r.Input.Request != nil {
		row.Path = r.Input.Request.Path
	}
}

// Outcome is that of all lines until now.
func (p *Replay) Outcome() Outcome {
	out := p.out
	for row := range maps.Values(p.rows) {
		out.Changed = append(out.Changed, *row)
	}
	slices.SortFunc(out.Changed, func(a, b Changed) int {
		return cmp.Or(cmp.Compare(b.Now, a.Now), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Called, b.Called), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Caller, b.Caller))
	})
	for _, key := range slices.Sorted(maps.Keys(p.replaced)) {
		if !p.asked[key] {
			out.Unasked = append(out.Unasked, key)
		}
	}
	return out
}

// Write tells people.
func (o Outcome) Write(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%d decisions, %d the same\n", o.Decisions, o.Same)
	for _, c := range o.Changed {
		where := fmt.Sprintf("%s:%d", c.Called, c.Port)
		if c.Route != "" {
			where = c.Called + " by " + c.Route
		}
		fmt.Fprintf(&out, "%s now, %d times: %s %s, called by %s; as %s of %s\n", strings.ToLower(string(c.Now)), c.Count, c.Method, where, c.Caller, c.ID, c.Path)
	}
	if o.Others > 0 {
		fmt.Fprintf(&out, "%d more of other kinds of calls are decided otherwise\n", o.Others)
	}
	for _, because := range slices.Sorted(maps.Keys(o.Untold)) {
		fmt.Fprintf(&out, "%d cannot be decided anew: %s\n", o.Untold[because], because)
	}
	for _, key := range o.Unasked {
		fmt.Fprintf(&out, "no decision was by MeshPolicy %s: was it about something else then, or is it new?\n", key)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
