package room

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Credentials are what a Secret has of them.
type Credentials struct {
	Secret string // its key
	Data   map[string][]byte
}

// Pairs are what sections go by that they read in Secrets: whose a key is, or how a user's password is hashed.
type Pairs map[string]string

// Text is how a Referent has them; "" of none.
func (p Pairs) Text() string {
	if len(p) == 0 {
		return ""
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

// ParsePairs are those of a Text.
func ParsePairs(text string) (p Pairs) {
	_ = json.Unmarshal([]byte(text), &p) // which a Text, if there is one, has none to refuse
	return p
}

// Together are the Pairs of all, but for what not all who have it say the same of: then it is nobody's.
func Together(all ...Pairs) Pairs {
	out := Pairs{}
	for _, p := range all {
		maps.Copy(out, p)
	}
	for name := range out {
		if Torn(name, all...) {
			delete(out, name)
		}
	}
	return out
}

// Torn says whether of a name several say something else.
func Torn(name string, all ...Pairs) bool {
	said := map[string]bool{}
	for _, p := range all {
		if value, is := p[name]; is {
			said[value] = true
		}
	}
	return len(said) > 1
}

// Heard is what one policy says, and the Pairs that it refers to.
type Heard[S any] struct {
	Written[S]
	Pairs Pairs
}

// Again says whether what it demands at an entrance of a kind is asked for once more by the sidecar of the pod that
// is called: then it must get there.
func (h Heard[S]) Again(at Kind) bool { return at == Gateway && h.Level <= AtNamespace }

// ByLevel are what is said by levels, from outside in. What clashes with what an older policy of the level says does
// not hold.
func ByLevel[S any](said []Written[S], found [][]Referent, clash func(older, newer *S) string) (out [][]Heard[S]) {
	for i, w := range said {
		if i == 0 || said[i-1].Level != w.Level {
			out = append(out, nil)
		}
		one := Heard[S]{Written: w}
		for _, r := range found[i] {
			one.Pairs = ParsePairs(r.Text)
		}
		older := said[:i]
		if !slices.ContainsFunc(older, func(o Written[S]) bool { return o.Level == w.Level && clash(o.Says, w.Says) != "" }) {
			out[len(out)-1] = append(out[len(out)-1], one)
		}
	}
	return out
}

// PairsOf are those of a level.
func PairsOf[S any](level []Heard[S]) Pairs {
	var all []Pairs
	for _, h := range level {
		all = append(all, h.Pairs)
	}
	return Together(all...)
}

// Collides says whether two policies' Pairs say something else of one name.
func Collides(older, newer []Referent) bool {
	for _, a := range older {
		for _, b := range newer {
			x, y := ParsePairs(a.Text), ParsePairs(b.Text)
			for name := range x {
				if Torn(name, x, y) {
					return true
				}
			}
		}
	}
	return false
}

// Differ is the first field, of those by name, in which two differ; "": in none.
func Differ[S any](a, b *S, fields map[string]func(*S) any) string {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !reflect.DeepEqual(fields[name](a), fields[name](b)) {
			return "." + name
		}
	}
	return ""
}

// mostFlaws is how many a message tells of.
const mostFlaws = 5

// Flaws is what is wrong, in one message.
func Flaws(all []string) string {
	if more := len(all) - mostFlaws; more > 0 {
		all = append(slices.Clone(all[:mostFlaws]), fmt.Sprintf("and %d more of that kind", more))
	}
	return strings.Join(all, "; ")
}
