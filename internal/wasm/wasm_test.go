package wasm

import (
	"slices"
	"strings"
	"testing"
)

// small is a module that imports a function and exports its memory.
const small = header +
	"\x01\x04\x01\x60\x00\x00" + // types: of a function
	"\x02\x09\x01\x03env\x01f\x00\x00" + // imports
	"\x05\x03\x01\x00\x02" + // memory: 2 pages and more
	"\x07\x0a\x01\x06memory\x02\x00" // exports

func TestParse(t *testing.T) {
	m, err := Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Imports, []Import{{"env", "f", Function}}) || len(m.Exports) != 1 || m.Exports["memory"] != Memory || m.Memory != (Limits{Least: 2}) {
		t.Errorf("%+v", m)
	}
}

// TestWithin: a module says of itself how much memory it may have, and all else of it stays.
func TestWithin(t *testing.T) {
	m, err := Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	bound := m.Within(1024)
	if want := strings.Replace(small, "\x05\x03\x01\x00\x02", "\x05\x05\x01\x01\x02\x80\x08", 1); bound != want {
		t.Errorf("%q, want %q", bound, want)
	}
	again, err := Parse(bound)
	if err != nil || again.Memory != (Limits{Least: 2, Most: 1024, Bounded: true}) {
		t.Errorf("%+v: %v", again, err)
	}
	if again.Within(2048) != bound {
		t.Error("what has a bound gets a wider one")
	}
}

func TestWhatIsNoModule(t *testing.T) {
	for text, want := range map[string]string{
		"":                                          "magic number",
		"#!/bin/sh":                                 "magic number",
		"\x00asm\x0d\x00\x01\x00":                   "magic number", // a component
		header:                                      "no memory",
		small[:len(small)-1]:                        "cut off",
		small + "\x05\x03\x01\x00\x02":              "no section", // a second memory
		small + "\x0e\x00":                          "no section",
		header + "\x05\x03\x01\x03\x02":             "section 5", // shared
		header + "\x05\x04\x01\x01\x02\x01":         "section 5", // less than it begins with
		header + "\x05\x05\x02\x00\x02\x00\x02":     "section 5", // two
		header + "\x05\x04\x01\x00\x02\x00":         "section 5", // and more
		header + "\x02\x05\x01\x01a\x01b":           "section 2",
		header + "\x02\x07\x01\x01a\x01b\x09\x00":   "section 2",
		header + "\x07\xff\xff\xff\xff\xff\xff":     "cut off",
		header + "\x07\x06\xff\xff\xff\xff\x0f\x00": "section 7",
		header + "\x02\x0b\x01\x01a\x01b\x02\x00\x80\x80\x80\x80\x10": "section 2", // more than 32 bits
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: nothing makes it panic, and what it reads it reads again once it is bound.
func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add(header + "\x00\x05\x04name\x05\x03\x01\x00\x02")
	f.Add(header + "\x02\x13\x03\x01a\x01b\x01\x70\x00\x01\x01a\x01c\x02\x00\x01\x01a\x01d\x03\x7f\x00\x05\x03\x01\x00\x02")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(m.Within(1 << 16))
		if err != nil {
			if m.Memory.Least <= 1<<16 {
				t.Fatal(err)
			}
			return
		}
		if !again.Memory.Bounded || again.Memory.Least != m.Memory.Least || !slices.Equal(again.Imports, m.Imports) || len(again.Exports) != len(m.Exports) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}
