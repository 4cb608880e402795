// Package re2 knows which regular expressions Envoy takes.
package re2

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"unicode"
)

// maxProgram bounds the instructions of a regular expression, far below the memory that RE2 allows
// itself, for every proxy compiles every one again at each change of its virtual host's table.
const maxProgram = 10_000

// Check says what keeps s from being a regular expression for Envoy. That is RE2 without
// Unicode: it reads each byte as a Latin-1 character, and knows fewer names of character classes
// than Go.
func Check(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return err
	}
	for _, r := range s {
		if r > unicode.MaxASCII {
			return fmt.Errorf("%q is not ASCII: percent-encode it, as paths and queries are", r)
		}
	}
	if err := checkEscapes(s); err != nil {
		return err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	if n := size(program); n > maxProgram {
		return fmt.Errorf("it is too large: about %d instructions, of at most %d; repeat less", n, maxProgram)
	}
	return nil
}

var escape = regexp.MustCompile(`(?s)\\Q.*?(?:\\E|$)|\\[pP](?:\{\^?([^}]*)\}|(.))|\\x\{([[:xdigit:]]+)\}|\\([0-7]{2,3})|\\.`)

// checkEscapes finds what Go takes and Latin-1 RE2 does not.
func checkEscapes(s string) error {
	for _, m := range escape.FindAllStringSubmatch(s, -1) {
		hex, _ := strconv.ParseUint("0"+m[3], 16, 64)
		octal, _ := strconv.ParseUint("0"+m[4], 8, 64)
		switch name := m[1] + m[2]; {
		case name != "" && !knownClass(name):
			return fmt.Errorf(`%s: no such class: use a script's name, or the abbreviation of a category such as \p{Lu}`, m[0])
		case max(hex, octal) > unicode.MaxLatin1:
			return fmt.Errorf(`%s is not one byte: at most \xFF`, m[0])
		}
	}
	return nil
}

func knownClass(name string) bool {
	_, script := unicode.Scripts[name]
	_, category := unicode.Categories[name]
	return name == "Any" || script || category && name != "Cn" && name != "LC"
}

// size is about what RE2 compiles a program to: an instruction for each range of bytes.
func size(p *syntax.Prog) (n int) {
	for _, i := range p.Inst {
		n++
		for low := 0; low+1 < len(i.Rune); low += 2 {
			if i.Rune[low] <= unicode.MaxLatin1 {
				n++
			}
		}
	}
	return n
}

// maxShortProgram is below the 100 instructions that Envoy has of a regular expression within an expression of CEL,
// with those that RE2 puts around it.
const maxShortProgram = 90

// CheckShort is Check for regular expressions within expressions of CEL. There Envoy takes short ones only, and reads
// UTF-8: what takes characters beyond ASCII becomes several instructions.
func CheckShort(s string) error {
	if err := Check(s); err != nil {
		return err
	}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	if n := sizeOfUTF8(program); n > maxShortProgram {
		return fmt.Errorf("it is too large: about %d instructions, of at most %d; repeat less, and name characters, such as [a-z], in place of . and negations", n, maxShortProgram)
	}
	return nil
}

// beyondASCII is what a range of characters becomes at most that goes beyond ASCII, for RE2 goes by bytes.
const beyondASCII = 9

// sizeOfUTF8 is no less than what RE2 compiles a program to.
func sizeOfUTF8(p *syntax.Prog) (n int) {
	for _, i := range p.Inst {
		n++
		if i.Op == syntax.InstRuneAny || i.Op == syntax.InstRuneAnyNotNL || i.Op == syntax.InstRune1 && syntax.Flags(i.Arg)&syntax.FoldCase != 0 {
			n += beyondASCII
		}
		for low := 0; low+1 < len(i.Rune); low += 2 {
			if n++; i.Rune[low+1] > unicode.MaxASCII {
				n += beyondASCII
			}
		}
		if len(i.Rune) == 1 && i.Op == syntax.InstRune {
			n += beyondASCII // in either case
		}
	}
	return n
}
