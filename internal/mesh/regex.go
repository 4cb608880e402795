package mesh

import "github.com/weft-mesh/weft/internal/re2"

// CheckRegex says what keeps s from being a regular expression for Envoy.
func CheckRegex(s string) error { return re2.Check(s) }
