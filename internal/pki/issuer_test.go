package pki

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestParseIssuer(t *testing.T) {
	for value, want := range map[string]Issuer{
		"letsencrypt":               {"Issuer", "letsencrypt"},
		"Issuer/letsencrypt":        {"Issuer", "letsencrypt"},
		"ClusterIssuer/letsencrypt": {"ClusterIssuer", "letsencrypt"},
		"ClusterIssuer/ca.example":  {"ClusterIssuer", "ca.example"},
	} {
		if got, problem := ParseIssuer(value); got != want || problem != "" {
			t.Errorf("ParseIssuer(%q) = %v, %q; want %v", value, got, problem, want)
		}
	}
	for value, says := range map[string]string{
		"":                       "name is missing",
		"Issuer/":                "name is missing",
		"/ca":                    `"" is not a kind`,
		"clusterissuer/ca":       `"clusterissuer" is not a kind`,
		"Issuer/a/b":             `"a/b" cannot be the name`,
		"Let's Encrypt":          "cannot be the name",
		strings.Repeat("a", 1e6): "…",
	} {
		got, problem := ParseIssuer(value)
		if got != (Issuer{}) || !strings.Contains(problem, says) || !strings.Contains(problem, "write Issuer/<name>") || len(problem) > 400 {
			t.Errorf("ParseIssuer(%.40q) = %v, %q; want a problem that says %q and what to write", value, got, problem, says)
		}
	}
}

func FuzzParseIssuer(f *testing.F) {
	for _, seed := range []string{"", "ca", "Issuer/ca", "ClusterIssuer/ca.example", "/", "Issuer/", "a/b/c", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		issuer, problem := ParseIssuer(value)
		if (issuer == Issuer{}) == (problem == "") {
			t.Fatalf("%q: issuer %v with problem %q", value, issuer, problem)
		}
		if problem != "" {
			return
		}
		if len(validation.IsDNS1123Subdomain(issuer.Name)) > 0 {
			t.Fatalf("%q: %q is no name", value, issuer.Name)
		}
		if again, problem := ParseIssuer(issuer.String()); again != issuer || problem != "" {
			t.Fatalf("%q: %v reads back as %v, %q", value, issuer, again, problem)
		}
	})
}
