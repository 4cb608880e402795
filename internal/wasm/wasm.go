// Package wasm reads modules of WebAssembly as far as their own proxies would refuse one: what a module is, asks of
// its host and offers. What its functions do, it does not look at.
package wasm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// PageSize is how many bytes a page of memory has.
const PageSize = 65536

// Module is what is read of one.
type Module struct {
	Imports []Import
	Exports map[string]Kind
	Memory  Limits

	head, tail string // the module without its section of memory
}

// Import is what a module asks of its host.
type Import struct {
	Module, Name string
	Kind         Kind
}

// Kind is what is imported or exported.
type Kind byte

// The kinds.
const (
	Function Kind = 0
	Memory   Kind = 2
)

// Limits are how many pages of memory a module begins with, and how many it may have.
type Limits struct {
	Least, Most uint32
	Bounded     bool // else there is no Most
}

// The sections that are read, by their numbers.
const (
	customSection = 0
	importSection = 2
	memorySection = 5
	exportSection = 7
	lastSection   = 13
)

const header = "\x00asm\x01\x00\x00\x00"

// Parse reads a module. The error says what is wrong with it, in words that follow "the module".
func Parse(text string) (*Module, error) {
	if !strings.HasPrefix(text, header) {
		return nil, fmt.Errorf("is no WebAssembly of version 1: it does not begin with its magic number")
	}
	m := &Module{Exports: map[string]Kind{}}
	seen, hasMemory := map[byte]bool{}, false
	all := reader{rest: text[len(header):]}
	for all.rest != "" && !all.failed {
		start := len(text) - len(all.rest)
		id := all.byte()
		body := reader{rest: all.text()}
		if all.failed || id > lastSection || id != customSection && seen[id] {
			return nil, fmt.Errorf("is cut off, or no WebAssembly: what is at byte %d is no section of it", start)
		}
		seen[id] = true
		switch id {
		case importSection:
			m.imports(&body)
		case exportSection:
			m.exports(&body)
		case memorySection:
			m.memory(&body)
			hasMemory = true
			m.head, m.tail = text[:start], all.rest
		}
		if body.failed {
			return nil, fmt.Errorf("is no WebAssembly of version 1: its section %d, at byte %d, cannot be read", id, start)
		}
	}
	if !hasMemory {
		return nil, fmt.Errorf("has no memory of its own")
	}
	return m, nil
}

func (m *Module) imports(r *reader) {
	for range r.number() {
		i := Import{Module: r.text(), Name: r.text(), Kind: Kind(r.byte())}
		switch i.Kind {
		case Function:
			r.number()
		case 1: // a table
			r.byte()
			r.limits()
		case Memory:
			r.limits()
		case 3: // a global
			r.byte()
			r.byte()
		default:
			r.failed = true
		}
		if r.failed {
			return
		}
		m.Imports = append(m.Imports, i)
	}
	r.end()
}

func (m *Module) exports(r *reader) {
	for range r.number() {
		name, kind := r.text(), Kind(r.byte())
		r.number()
		if r.failed {
			return
		}
		m.Exports[name] = kind
	}
	r.end()
}

func (m *Module) memory(r *reader) {
	if r.number() != 1 {
		r.failed = true
		return
	}
	m.Memory = r.limits()
	r.end()
}

// Within is the module with memory of so many pages at most.
func (m *Module) Within(pages uint32) string {
	most := pages
	if m.Memory.Bounded {
		most = min(most, m.Memory.Most)
	}
	body := binary.AppendUvarint([]byte{1, 1}, uint64(m.Memory.Least))
	body = binary.AppendUvarint(body, uint64(most))
	section := binary.AppendUvarint([]byte{memorySection}, uint64(len(body)))
	return m.head + string(slices.Concat(section, body)) + m.tail
}

// reader takes a text apart from its beginning. Once it has failed, what it returns means nothing.
type reader struct {
	rest   string
	failed bool
}

func (r *reader) byte() byte {
	if r.rest == "" {
		r.failed = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// number is one of 32 bits, in at most five bytes; 0 if there is none.
func (r *reader) number() uint32 {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 && !r.failed && n <= 1<<32-1 {
			return uint32(n)
		}
	}
	r.failed = true
	return 0
}

// text is one whose length stands before it.
func (r *reader) text() string {
	n := uint64(r.number())
	if r.failed || n > uint64(len(r.rest)) {
		r.failed = true
		return ""
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// limits fail for memory that threads share and for that of 64 bits.
func (r *reader) limits() (l Limits) {
	flags := r.byte()
	l.Least = r.number()
	if l.Bounded = flags == 1; l.Bounded {
		l.Most = r.number()
	}
	r.failed = r.failed || flags > 1 || l.Bounded && l.Most < l.Least
	return l
}

func (r *reader) end() { r.failed = r.failed || r.rest != "" }
