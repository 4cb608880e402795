package mesh

import "regexp/syntax"

// CheckRegex says what keeps s from being a regular expression of RE2, the syntax of Envoy's.
func CheckRegex(s string) error {
	_, err := syntax.Parse(s, syntax.Perl)
	return err
}
