package opa

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// condition writes a rule, and says how it must come out where the condition holds: as true or, of NotIn and
// DoesNotExist, as not true.
func (m *module) condition(h, field string, c v1alpha1.AuthorizationCondition) string {
	holds := h
	if negated(c.Operator) {
		holds = "not " + h
	}
	before := len(m.problems)
	m.ways(h, field, c)
	if len(m.problems) > before { // it must not hold for who is let in by it, and must for who is kept out
		m.body(h, strconv.FormatBool(m.fold != negated(c.Operator)))
	}
	return holds
}

func negated(o v1alpha1.AuthorizationOperator) bool {
	return o == v1alpha1.AttributeNotIn || o == v1alpha1.AttributeDoesNotExist
}

// ways are those in which a condition, or what it negates, holds.
func (m *module) ways(h, field string, c v1alpha1.AuthorizationCondition) {
	a, ok := m.attribute(field+".attribute", c.Attribute)
	if !ok {
		return
	}
	if c.Data != nil {
		m.looked(h, field+".data", a, c)
		return
	}
	switch c.Operator {
	case v1alpha1.AttributeIn, v1alpha1.AttributeNotIn:
		m.related(h, field, a, c)
	case v1alpha1.AttributeExists, v1alpha1.AttributeDoesNotExist:
		m.body(h, a.rego()+" != null")
	case v1alpha1.AttributeStartsWith, v1alpha1.AttributeEndsWith:
		m.affixes(h, c.Operator, a, c.Values)
	case v1alpha1.AttributeAtLeast, v1alpha1.AttributeLessThan:
		m.compared(h, field, a, c)
	default:
		m.problem(field+".operator", "%s is no operator", c.Operator)
	}
}

func (m *module) attribute(field, text string) (attribute, bool) {
	a, ok := attributeOf(text)
	if !ok {
		m.problem(field, "%s is no attribute: write one of those that kubectl explain lists", text)
	}
	return a, ok
}

// compared compares an attribute with a number.
func (m *module) compared(h, field string, a attribute, c v1alpha1.AuthorizationCondition) {
	sign := map[v1alpha1.AuthorizationOperator]string{v1alpha1.AttributeAtLeast: ">=", v1alpha1.AttributeLessThan: "<"}[c.Operator]
	for _, v := range c.Values {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			m.problem(field+".values", "%q is no whole number: write one", v)
			return
		}
		m.body(h, "is_number("+a.rego()+")", fmt.Sprintf("%s %s %d", a.rego(), sign, n))
	}
}

func (m *module) affixes(h string, o v1alpha1.AuthorizationOperator, a attribute, values []string) {
	for _, v := range values {
		m.body(h, m.affix(o, a, v))
	}
}

// affix asks whether an attribute starts or ends with a value.
func (m *module) affix(o v1alpha1.AuthorizationOperator, a attribute, v string) string {
	starts, quoted := o == v1alpha1.AttributeStartsWith, regexp.QuoteMeta(v)
	switch fold := m.fold && a.folds(); {
	case fold && starts:
		return m.matches(a, quoted+".*")
	case fold:
		return m.matches(a, ".*"+quoted)
	case starts:
		return fmt.Sprintf("startswith(%s, %s)", a.rego(), quote(v))
	}
	return fmt.Sprintf("endswith(%s, %s)", a.rego(), quote(v))
}

// related compares an attribute with values or with other attributes.
func (m *module) related(h, field string, a attribute, c v1alpha1.AuthorizationCondition) {
	if len(c.Values) > 0 {
		m.among(h, a, c.Values)
	}
	for i, text := range c.Attributes {
		b, ok := m.attribute(fmt.Sprintf("%s.attributes[%d]", field, i), text)
		if !ok {
			continue
		}
		m.body(h, "is_string("+a.rego()+")", a.rego()+" == "+b.rego())
		m.entry(h, a, b)
		m.entry(h, b, a)
	}
}

// among holds where an attribute is one of some values.
func (m *module) among(h string, a attribute, values []string) {
	if a.claim() {
		m.claimIn(h, a, values)
		return
	}
	m.body(h, m.in(a, values))
}

// entry is a way that holds where a claim is a list with an attribute, which is text, in it.
func (m *module) entry(h string, list, of attribute) {
	if list.claim() {
		m.body(h, "is_array("+list.rego()+")", "is_string("+of.rego()+")", of.rego()+" in "+list.rego())
	}
}

// claimIn writes a rule that holds where a claim is one of some values, or a list with one of them in it.
func (m *module) claimIn(h string, a attribute, values []string) string {
	m.body(h, one(a, values...))
	for _, v := range values {
		m.body(h, "is_array("+a.rego()+")", quote(v)+" in "+a.rego())
	}
	return h
}

func (m *module) problem(field, format string, args ...any) {
	m.problems = append(m.problems, Problem{Field: field, What: fmt.Sprintf(format, args...)})
}
