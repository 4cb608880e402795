package opa

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// looked compares an attribute with what is in a document. What that is is known before anything is compiled, so that to
// OPA and to Envoy it is values like those of the policy.
func (m *module) looked(h, field string, a attribute, c v1alpha1.AuthorizationCondition) {
	if m.Data == nil {
		m.problem(field, "there are no documents")
		return
	}
	found := m.Data(*c.Data)
	if found.Problem != "" {
		m.problems = append(m.problems, Problem{Field: field, What: found.Problem, Awaited: found.Awaited})
		return
	}
	if c.Data.By == "" {
		m.comparedWith(h, field, a, c.Operator, found.Texts)
		return
	}
	by, ok := m.attribute(field+".by", c.Data.By)
	if !ok {
		return
	}
	m.body(h, "false")
	for _, k := range slices.Sorted(maps.Keys(found.By)) {
		entry := m.helper("entry_%d", len(m.helpers))
		m.comparedWith(entry, field, a, c.Operator, found.By[k])
		m.body(h, m.in(by, []string{k}), entry)
	}
}

// comparedWith holds where an attribute is, or starts or ends with, one of some values; of none nowhere.
func (m *module) comparedWith(h, field string, a attribute, o v1alpha1.AuthorizationOperator, values []string) {
	m.body(h, "false")
	switch o {
	case v1alpha1.AttributeStartsWith, v1alpha1.AttributeEndsWith:
		m.affixes(h, o, a, values)
	case v1alpha1.AttributeIn, v1alpha1.AttributeNotIn:
		if len(values) > 0 {
			m.among(h, a, values)
		}
	default:
		m.problem(field, "%s compares with no data: write values", o)
	}
}

// dataText is how people are told of it.
func dataText(d v1alpha1.AuthorizationData) string {
	at := d.Path
	if d.By != "" {
		at = append(slices.Clone(at), "["+d.By+"]")
	}
	return fmt.Sprintf("what %s of data[%q] in ConfigMap %s has", or(strings.Join(at, "."), "the top"), d.ConfigMapRef.Key, d.ConfigMapRef.Name)
}
