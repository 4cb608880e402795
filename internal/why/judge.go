package why

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/opa"
)

// Level are the policies of one level that say who may call.
type Level struct {
	Name     string // as people call it
	Policies []opa.Policy
	Claims   string // the key of the verified claims that they go by; "": they have none to go by
	// Unenforced are the rules of which a part is decided by nothing that a proxy has, by their names, and that part.
	Unenforced map[string]string
}

// Call is a request, or a connection, as proxies see it: all that policies are asked about.
type Call struct {
	Input  opa.Input                 `json:"input"` // without a token
	Tokens map[string]map[string]any `json:"tokens,omitempty"`
}

// Ruling is what rules come to for a Call: what none of any level denies and one of each level allows is allowed.
type Ruling struct {
	Allowed bool
	Denials []Miss
	Levels  []LevelRuling
}

// LevelRuling is that of one level.
type LevelRuling struct {
	Level    string
	Policies []string // keys
	Allowed  bool
	By       string   // the first rule that allows
	Misses   []Miss   // where none does: those that would, the nearest first
	Broken   []string // policies that OPA cannot read, and why
}

// Miss is a rule and what was found of it.
type Miss struct {
	opa.Finding
	Level string `json:"level"` // of its policy
	// First is the part that fails first; nil: none does.
	First *opa.Part `json:"first,omitempty"`
	// Unenforced is the part that no proxy decides, so that the rule lets nobody in; "": there is none.
	Unenforced string `json:"unenforced,omitempty"`
}

// Court are the policies of all levels, as OPA has read them.
type Court struct{ levels []benched }

// benched is a Level whose policies were read.
type benched struct {
	Level
	witnesses []opa.Witness // of those that can be read
	broken    []string      // the others, and why
}

// NewCourt has OPA read policies. One that it cannot read lets nobody in.
func NewCourt(levels []Level) (c Court) {
	for _, l := range levels {
		b := benched{Level: l}
		for _, p := range l.Policies {
			if w, err := p.Witness(); err != nil {
				b.broken = append(b.broken, fmt.Sprintf("%s: %v", p.Key, err))
			} else {
				b.witnesses = append(b.witnesses, w)
			}
		}
		c.levels = append(c.levels, b)
	}
	return c
}

// Judge has OPA evaluate the policies of all levels whole.
func (c Court) Judge(call Call) (Ruling, error) {
	out := Ruling{Allowed: true}
	for _, l := range c.levels {
		ruling := LevelRuling{Level: l.Name, Policies: keysOf([]Level{l.Level}), Broken: l.broken}
		in := call.Input
		in.JWT.Claims = nil
		if l.Claims != "" {
			in.JWT.Claims = call.Tokens[l.Claims]
		}
		for _, w := range l.witnesses {
			said, err := w.Of(in)
			if err != nil {
				return Ruling{}, fmt.Errorf("evaluate the policies of level %s: %w", l.Name, err)
			}
			for _, f := range said.Rules {
				ruling.take(&out, f, l.Unenforced[f.Name])
			}
		}
		slices.SortStableFunc(ruling.Misses, nearer)
		out.Allowed = out.Allowed && ruling.Allowed
		out.Levels = append(out.Levels, ruling)
	}
	out.Allowed = out.Allowed && len(out.Denials) == 0
	return out, nil
}

// take counts what was found of one rule.
func (l *LevelRuling) take(of *Ruling, f opa.Finding, unenforced string) {
	m := Miss{Finding: f, Level: l.Level, Unenforced: unenforced}
	if first, fails := f.FirstFailing(); fails {
		m.First = &first
	}
	switch {
	case f.Deny && f.Holds:
		of.Denials = append(of.Denials, m)
	case f.Deny:
	case f.Holds && unenforced == "":
		if l.By == "" {
			l.By = f.Name
		}
		l.Allowed = true
	default:
		l.Misses = append(l.Misses, m)
	}
}

// nearer orders by how much would have to be otherwise.
func nearer(a, b Miss) int { return cmp.Compare(a.Failing(), b.Failing()) }
