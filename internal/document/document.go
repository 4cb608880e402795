// Package document finds texts in documents of YAML, or JSON, that people keep in ConfigMaps:
//
//	ConfigMap → Check: can it be read? → Find: the texts at a path in it, which are all that anybody goes by
package document

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// Suffix ends the keys of documents.
const Suffix = ".data.yaml"

// MaxSize is how long a document may be, in bytes.
const MaxSize = 128 << 10

// Of what is at one path.
const (
	maxTexts   = 1000
	maxEntries = 256
	maxText    = 256
)

// Found is what is at a path.
type Found struct {
	// Texts are those there, ordered, each once; By, in their place, those under each key of the map that is there.
	Texts []string
	By    map[string][]string
	// Problem says why there is nothing; "": there is. Awaited says that it is told of elsewhere.
	Problem string
	Awaited bool
}

// Check says what keeps a text from being a document; "": nothing.
func Check(text string) string {
	if len(text) > MaxSize {
		return fmt.Sprintf("has more than %d bytes: split it", MaxSize)
	}
	if _, err := read(text); err != nil {
		return err.Error()
	}
	return ""
}

func read(text string) (map[string]any, error) {
	var out any
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		_, what, _ := strings.Cut(err.Error(), "yaml: ")
		return nil, fmt.Errorf("is neither YAML nor JSON: %s", strings.Join(strings.Fields(what), " "))
	}
	m, is := out.(map[string]any)
	if !is {
		return nil, fmt.Errorf("is %s: it must be a map, of YAML or JSON", kind(out))
	}
	return m, nil
}

// Find finds what is at a path: a text, or a list of texts; or, by keys, a map of those.
func Find(text string, path []string, byKeys bool) Found {
	document, err := read(text)
	if err != nil {
		return Found{Awaited: true, Problem: err.Error()}
	}
	var at any = document
	for i, key := range path {
		m, _ := at.(map[string]any)
		var is bool
		if at, is = m[key]; !is {
			return Found{Problem: fmt.Sprintf("has no %s: add it, or correct the path", strings.Join(path[:i+1], "."))}
		}
	}
	where := strings.Join(path, ".")
	if !byKeys {
		texts, problem := textsIn(at, where, maxTexts)
		return Found{Texts: texts, Problem: problem}
	}
	return entries(at, where)
}

func entries(at any, where string) Found {
	m, is := at.(map[string]any)
	if !is {
		return Found{Problem: fmt.Sprintf("has at %s %s: it must be a map of texts, or of lists of texts, as by names one of its keys", or(where, "its top"), kind(at))}
	}
	if len(m) > maxEntries {
		return Found{Problem: fmt.Sprintf("has at %s %d keys, and may have %d", where, len(m), maxEntries)}
	}
	out, n := Found{By: map[string][]string{}}, 0
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if problem := wrongText(key); problem != "" {
			return Found{Problem: fmt.Sprintf("has at %s a key that %s", where, problem)}
		}
		texts, problem := textsIn(m[key], strings.TrimPrefix(where+"."+key, "."), maxTexts-n)
		if problem != "" {
			return Found{Problem: problem}
		}
		n += len(texts)
		out.By[key] = texts
	}
	return out
}

// textsIn are those of a text or a list.
func textsIn(at any, where string, most int) (out []string, problem string) {
	list, is := at.([]any)
	if !is {
		list = []any{at}
	}
	if len(list) > most {
		return nil, fmt.Sprintf("has at %s more than the %d texts that may be at one path: split it", or(where, "its top"), maxTexts)
	}
	for i, entry := range list {
		s, text := entry.(string)
		if is {
			at = entry
		}
		name := or(where, "its top")
		if is {
			name = fmt.Sprintf("%s[%d]", where, i)
		}
		if !text {
			return nil, fmt.Sprintf("has at %s %s: %s", name, kind(at), remedy(at))
		}
		if problem := wrongText(s); problem != "" {
			return nil, fmt.Sprintf("has at %s a text that %s", name, problem)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return slices.Compact(out), ""
}

func wrongText(s string) string {
	switch {
	case s == "":
		return "is empty, which no attribute is"
	case len(s) > maxText:
		return fmt.Sprintf("has %d bytes, and may have %d", len(s), maxText)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

// kind is what something is, without what it says.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case bool:
		return "true or false"
	case float64, int64:
		return "a number"
	}
	return "a text"
}

// remedy is what to do about what is no text.
func remedy(v any) string {
	switch v.(type) {
	case bool, float64, int64:
		return "put it in quotes"
	}
	return "it must be a text, or a list of texts"
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
