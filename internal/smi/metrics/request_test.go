package metrics

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestParse(t *testing.T) {
	for path, want := range map[string]string{
		"v1alpha1/namespaces":                             "Namespace  30s",
		"v1alpha1/namespaces/shop":                        "Namespace shop 30s",
		"v1alpha1/namespaces/shop/edges":                  "edges of Namespace shop 30s",
		"v1alpha1/namespaces/shop/pods":                   "Pod shop/ 30s",
		"v1alpha1/namespaces/shop/pods/":                  "there is no \"v1alpha1/namespaces/shop/pods/\"",
		"v1alpha1/namespaces/shop/pods/cart-1":            "Pod shop/cart-1 30s",
		"v1alpha2/namespaces/shop/pods/cart-1/edges?t=5m": "edges of Pod shop/cart-1 5m0s",
		"v1alpha1/namespaces/shop/deployments/edges":      "Deployment shop/edges 30s",
		"v1alpha1/statefulsets?limit=500":                 "StatefulSet  30s",

		"v1alpha2/namespaces/shop/trafficsplits/a": "TrafficSplit shop/a 30s",

		"v1alpha1/namespaces/shop/trafficsplits/a":       "there is no ",
		"v1alpha2/namespaces/shop/trafficsplits/a/edges": "there is no ",
		"v1alpha1":                             "there is no \"v1alpha1\"",
		"v1alpha1/namespaces//pods":            "there is no ",
		"v1alpha1/deployments/cart":            "there is no ",
		"v1alpha1/deployments/cart/edges":      "there is no ",
		"v1alpha1/namespaces/shop/edges/edges": "there is no ",
		"v1alpha1/namespaces/shop/namespaces":  "there is no ",
		"v1alpha1/namespaces/shop/nodes/a":     "there is no ",
		"v1alpha1/namespaces/shop/pods/a/log":  "there is no ",
		"v1alpha1/watch/namespaces/shop/pods":  "there is no ",

		`v1alpha1/namespaces/shop/pods/a"b`:                   `name "a\"b"`,
		"v1alpha1/namespaces/Shop/pods":                       `namespace "Shop"`,
		"v1alpha1/namespaces/shop/pods?t=1s":                  "parameter t",
		"v1alpha1/namespaces/shop/pods?t=30500ms":             "parameter t",
		"v1alpha1/namespaces/shop/pods?t=2h":                  "parameter t",
		"v1alpha1/namespaces/shop/pods?labelSelector=app%3Da": "parameter labelSelector",
		"v1alpha1/namespaces/shop/pods?watch=true":            "parameter watch",
	} {
		got, served := parsed(path)
		if served && got != want || !served && !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func parsed(path string) (text string, served bool) {
	path, parameters, _ := strings.Cut(path, "?")
	query, err := url.ParseQuery(parameters)
	if err != nil {
		return err.Error(), false
	}
	r, problem := Parse(path, query)
	if problem != (Problem{}) {
		return problem.Message, false
	}
	text = r.Kind.Kind + " " + r.Namespace
	if r.Namespace != "" {
		text += "/"
	}
	text += r.Name + " " + r.Window.String()
	if r.Edges {
		text = "edges of " + text
	}
	return text, true
}

// FuzzParse: whatever a path is, the queries are those of the same path with other names in it.
func FuzzParse(f *testing.F) {
	f.Add("v1alpha1/namespaces/shop/deployments/cart/edges", "5m")
	f.Add(`v1alpha1/namespaces/a"} or vector(1) or up{b="/pods/c`, "30s")
	f.Add("v1alpha1/namespaces/shop/pods/a.b-c", "10s[1m:1s]")
	f.Fuzz(func(t *testing.T, path, window string) {
		r, problem := Parse(path, url.Values{"t": {window}})
		if problem != (Problem{}) {
			return
		}
		plain := r
		for from, to := range map[*string]*string{&r.Namespace: &plain.Namespace, &r.Name: &plain.Name} {
			if *from == "" {
				continue
			}
			if problems := validation.IsDNS1123Subdomain(*from); len(problems) > 0 {
				t.Errorf("%q is a name: %v", *from, problems)
			}
			*to = "x"
		}
		for i, q := range r.Queries() {
			if strings.Count(q, `"`) != strings.Count(plain.Queries()[i], `"`) || strings.Count(q, "{") != strings.Count(plain.Queries()[i], "{") {
				t.Errorf("%s asks %s", path, q)
			}
		}
	})
}

func TestDiscovery(t *testing.T) {
	var names []string
	for _, r := range Resources("v1alpha1").APIResources {
		names = append(names, r.Name)
		// The deletion of namespaces, quotas and the collection of garbage pass over what has none of these.
		if slices.Contains(r.Verbs, "delete") || slices.Contains(r.Verbs, "watch") {
			t.Errorf("%s has %v", r.Name, r.Verbs)
		}
	}
	for _, want := range []string{"deployments", "deployments/edges", "namespaces", "namespaces/edges"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	if g := Description(); g.PreferredVersion.Version != "v1alpha1" || len(g.Versions) != 2 {
		t.Errorf("%+v", g)
	}
}
