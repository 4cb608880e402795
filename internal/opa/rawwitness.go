package opa

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// hears adds the module of a Policy. Of each of its two rules is known whether it is true, and of one that denies because
// there is no module, why.
func (w *Witness) hears(p Policy) {
	if p.Authorization == nil || p.Rego == nil {
		return
	}
	part := func(name string) Part {
		of := strings.TrimPrefix(name, "rego/") + " of " + placeOf(*p.Rego)
		return Part{Field: rawField, Attribute: of, Takes: "what it is true of", rule: name}
	}
	add := func(name string, p Part, key string) {
		w.rules = append(w.rules, Finding{Name: key + "/" + name, Deny: name == rawDeny, When: Clause{[]Way{{p}}}})
	}
	var err error
	if _, w.raw, err = p.raw(); err != nil {
		shut := part(rawDeny)
		shut.Problem, shut.Holds, shut.rule = "lets nobody in: the module "+err.Error(), true, alwaysTrue
		add(rawDeny, shut, p.Key)
		return
	}
	add(rawAllow, part(rawAllow), p.Key)
	add(rawDeny, part(rawDeny), p.Key)
}

// placeOf is how people call where a module is.
func placeOf(r v1alpha1.AuthorizationRego) string {
	switch {
	case r.Remote != nil:
		return r.Remote.URL
	case r.ConfigMapRef != nil:
		return fmt.Sprintf("data[%q] in ConfigMap %s", r.ConfigMapRef.Key, r.ConfigMapRef.Name)
	}
	return "no module"
}

// rawField is where a Policy names its module.
const rawField = "rego"

// alwaysTrue is the rule of a part that holds whatever is asked.
const alwaysTrue = "true"

// rule is the name by which it is known whether the rule with an index holds.
func (f Finding) rule(i int) string {
	for _, way := range f.When.Ways {
		for _, p := range way {
			if p.Field == rawField {
				return p.rule
			}
		}
	}
	return ruleName(i)
}
