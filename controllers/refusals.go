package controllers

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/xds"
)

// Limits of the Mesh's status.
const (
	maxRefused       = 32
	maxRefusalDetail = 2048
	maxRefusalName   = 1024
)

// summary is what the Mesh says of proxies: how many are connected, and what they refused.
func summary(facts []xds.Fact) v1alpha1.ProxySummary {
	sum := v1alpha1.ProxySummary{Connected: int32(len(facts))}
	for _, f := range facts {
		for _, r := range f.Refused {
			sum.Refused = append(sum.Refused, v1alpha1.Refusal{
				Proxy:    f.Identity.String(),
				Resource: clip(shortType(r.Name.Type)+" "+r.Name.Name, maxRefusalName),
				Message:  clip(r.Detail, maxRefusalDetail),
			})
		}
	}
	slices.SortFunc(sum.Refused, func(a, b v1alpha1.Refusal) int {
		return cmp.Or(cmp.Compare(a.Proxy, b.Proxy), cmp.Compare(a.Resource, b.Resource))
	})
	sum.Refused = sum.Refused[:min(len(sum.Refused), maxRefused)]
	return sum
}

// shortType is the last word of a type URL.
func shortType(url string) string { return url[strings.LastIndexByte(url, '.')+1:] }

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
