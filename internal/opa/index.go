package opa

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
)

// Envoy asks the policies of an RBAC one after the other. Of many, those that can hold of one request alone are found by
// what the request is, and only these are asked, by the same words:
//
//	rules → their keys, by the attribute that tells most of them apart → an Index for each such attribute
//	      → those that have none                                       → asked of all requests
//
// So an Index needs no meaning of its own: that of a rule which it leaves out could not have held.
const (
	maxLinear  = 100 // as many are asked one after the other
	minIndexed = 32  // for fewer an Index of their own is not worth while
	maxUnder   = 32  // keys that lie under one which is a path: its rules are asked beside those of each
)

// Filter is one that requests must pass.
type Filter struct {
	*rbacv3.RBAC
	// Indexes are asked before. Of an RBAC that denies, each does so by itself; of one that allows, each says whether
	// it does in the metadata of the request, where a policy of the RBAC looks.
	Indexes []Index
	// Sure are, of an RBAC that allows, the rules that Envoy decides alone: they say under the name Says whether they allow.
	// The RBAC lets on whom others may allow too. nil: there are no others.
	Sure *rbacv3.RBAC
	Says string
}

// Index are rules by what an attribute of a request is.
type Index struct {
	// By is the attribute: principal, path, or header and Header its name.
	By     string
	Header string
	// Says is the name under which is said whether one allows.
	Says string
	// Rules are those of requests of which the attribute is the key or, of paths, begins with it and with no longer one.
	Rules map[string]*rbacv3.RBAC
}

// indexPrefix begins the names of the policies that look for what an Index has said: those of rules begin with another.
const indexPrefix = "#"

// What an Index goes by.
const (
	ByPrincipal = "principal"
	ByPath      = "path"
	ByHeader    = "header"
)

// placed is an entry with the attribute by which it is found.
type placed struct {
	entry
	keys map[string][]key // by the attribute's name
}

// indexed is a filter with as many of its policies in Indexes as is worth while. The name tells it from others that the
// same request passes.
func (f filter) indexed(name string) Filter {
	rest, by := f.place()
	out := Filter{RBAC: filter{action: f.action, entries: rest}.rbac()}
	for _, a := range slices.Sorted(maps.Keys(by)) {
		i := Index{By: a, Says: name + "_" + a, Rules: map[string]*rbacv3.RBAC{}}
		if kind, header, is := strings.Cut(a, " "); is {
			i.By, i.Header, i.Says = kind, header, name+"_"+header
		}
		for text, entries := range leaves(by[a], a) {
			i.Rules[text] = filter{action: f.action, entries: entries}.rbac()
		}
		if out.Indexes = append(out.Indexes, i); f.action == rbacv3.RBAC_ALLOW {
			out.Policies[indexPrefix+a] = &rbacv3.Policy{Permissions: []*rbacv3.Permission{anything()}, Principals: []*rbacv3.Principal{saysAllowed(i.Says)}}
		}
	}
	if len(f.bounds) > 0 {
		out.Sure = out.RBAC
		out.RBAC = filter{action: f.action, entries: slices.Concat(rest, f.bounds)}.rbac()
		for name, p := range out.Sure.Policies {
			if strings.HasPrefix(name, indexPrefix) {
				out.Policies[name] = p
			}
		}
	}
	return out
}

// place says by which attribute each entry is found: by the one of which the fewest others have the same keys.
func (f filter) place() (rest []entry, by map[string][]placed) {
	if len(f.entries) <= maxLinear {
		return f.entries, nil
	}
	all := make([]placed, len(f.entries))
	for i, e := range f.entries {
		all[i] = placed{e, keysOf(e.is)}
	}
	crowdedOut(all)
	load := map[string]int{}
	for _, p := range all {
		for a, keys := range p.keys {
			for _, k := range keys {
				load[a+" "+k.text]++
			}
		}
	}
	by = map[string][]placed{}
	for _, p := range all {
		best, least := "", len(all)+1
		for _, a := range slices.Sorted(maps.Keys(p.keys)) {
			if most := heaviest(a, p.keys[a], load); most < least {
				best, least = a, most
			}
		}
		by[best] = append(by[best], p)
	}
	for a, some := range by {
		if a == "" || len(some) < minIndexed {
			delete(by, a)
			for _, p := range some {
				rest = append(rest, p.entry)
			}
		}
	}
	slices.SortFunc(rest, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return rest, by
}

func heaviest(attribute string, keys []key, load map[string]int) (most int) {
	for _, k := range keys {
		most = max(most, load[attribute+" "+k.text])
	}
	return most
}

// keysOf are those of a formula, by the attributes that have any.
func keysOf(f formula) map[string][]key {
	out := map[string][]key{}
	of := map[string]attribute{ByPrincipal: principal, ByPath: path}
	for _, a := range f.atoms() {
		if a.of.header() {
			of[ByHeader+" "+a.of.last()] = a.of
		}
	}
	for name, a := range of {
		if keys, ok := f.keys(a); ok {
			if a.is(path) { // which has neither a query nor a fragment
				keys = slices.DeleteFunc(keys, func(k key) bool { return strings.ContainsAny(k.text, "?#") })
			}
			out[name] = keys
		}
	}
	return out
}

// crowdedOut has entries not found by paths under which too many others are.
func crowdedOut(all []placed) {
	texts := textsOf(all, ByPath)
	for _, p := range all {
		if slices.ContainsFunc(p.keys[ByPath], func(k key) bool { return len(below(texts, k)) > maxUnder }) {
			delete(p.keys, ByPath)
		}
	}
}

// textsOf are the keys of entries, ordered, each once.
func textsOf(all []placed, attribute string) (out []string) {
	for _, p := range all {
		for _, k := range p.keys[attribute] {
			out = append(out, k.text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// below are those of ordered texts that begin with what k is under.
func below(texts []string, k key) []string {
	if k.under == "" {
		return nil
	}
	from := sort.SearchStrings(texts, k.under)
	n := sort.Search(len(texts)-from, func(i int) bool { return !strings.HasPrefix(texts[from+i], k.under) })
	return texts[from : from+n]
}

// leaves are the entries that can hold of requests, by the longest key that these have.
func leaves(all []placed, attribute string) map[string][]entry {
	texts, out := textsOf(all, attribute), map[string][]entry{}
	for _, p := range all {
		at := map[string]bool{}
		for _, k := range p.keys[attribute] {
			at[k.text] = true
			for _, text := range below(texts, k) {
				at[text] = true
			}
		}
		for text := range at {
			out[text] = append(out[text], p.entry)
		}
	}
	return out
}
