package why

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/weft-mesh/weft/internal/opa"
)

// maxMisses is how many rules that nearly allow are told of in text; JSON has all.
const maxMisses = 5

// Write tells an Answer to people, or as JSON.
func (a Answer) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		text, err := json.MarshalIndent(a, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", text)
		}
		return err
	}
	var out strings.Builder
	for i, e := range a.Explanations {
		if i > 0 {
			out.WriteString("\n")
		}
		e.write(&out)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (e Explanation) write(out *strings.Builder) {
	fmt.Fprintf(out, "%s: %s -> %s, port %d: %s\n", e.verdict(), e.Source, e.Destination, e.Port, e.Asks)
	if len(e.Pods) > 0 {
		fmt.Fprintf(out, "  pods %s\n", few(e.Pods))
	}
	for _, c := range e.Checks {
		c.write(out)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(out, "  note: %s\n", n)
	}
}

func few(all []string) string {
	if len(all) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}

func (e Explanation) verdict() string {
	switch {
	case e.Allowed:
		return "Allowed"
	case e.Status == 0:
		return "Denied (the connection is closed)"
	}
	return fmt.Sprintf("Denied (%d)", e.Status)
}

func (c Check) write(out *strings.Builder) {
	sign, name := "no ", c.Name
	if c.Passed {
		sign = "ok "
	}
	if c.Level != "" {
		name += ", " + c.Level
	}
	if c.Shadow {
		name += ", in Shadow"
	}
	fmt.Fprintf(out, "  %s %s: %s\n", sign, name, c.Why)
	for i, m := range c.Misses {
		if m.Deny {
			if i > 0 {
				fmt.Fprintf(out, "      %s denies it too: %s\n", m.Name, heldText(m.Finding))
			}
			continue
		}
		if i == maxMisses {
			fmt.Fprintf(out, "      and %d rules more that are further off: see -o json\n", len(c.Misses)-i)
			break
		}
		label := "           "
		if i == 0 {
			label = "nearest is "
		}
		fmt.Fprintf(out, "      %s%s: %s\n", label, m.Name, m.text())
	}
}

// text says what of a rule held, and what failed first.
func (m Miss) text() string {
	var held, failed []string
	words := [2]string{"from", "to"}
	if strings.HasPrefix(m.Short(), "roles/") {
		words = [2]string{"heldBy", "may"}
	}
	for _, c := range []struct {
		name string
		opa.Clause
	}{{words[0], m.From}, {words[1], m.To}, {"when", m.When}} {
		switch {
		case !c.Asked():
		case c.Holds():
			held = append(held, c.name+" holds")
		default:
			failed = append(failed, c.name+" does not")
		}
	}
	out := strings.Join(append(held, failed...), ", ")
	if m.First != nil {
		out += ": " + m.First.String()
	}
	if more := m.Failing() - 1; more > 0 {
		out += fmt.Sprintf(" (and %d more)", more)
	}
	if m.Unenforced != "" {
		out = strings.TrimPrefix(out+"; no proxy decides "+m.Unenforced+", so that it lets nobody in", "; ")
	}
	return out
}

// heldText says what of a rule that holds matched.
func heldText(f opa.Finding) string {
	var all []string
	for _, c := range []opa.Clause{f.From, f.To, f.When} {
		for _, p := range c.Nearest() {
			all = append(all, p.String())
		}
	}
	if len(all) == 0 {
		return "it is about all requests"
	}
	return strings.Join(all, "; ")
}
