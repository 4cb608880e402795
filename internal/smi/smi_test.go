package smi

import (
	"reflect"
	"regexp"
	"testing"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

func TestServiceName(t *testing.T) {
	for written, want := range map[string]string{
		"web": "web", "web.shop": "web", "web.shop.svc": "web", "web.shop.svc.cluster.local": "web", "web.shop.svc.cluster.local.": "web",
		"web.other": "", "web.shop.pod": "", "web.example.com": "",
	} {
		if name, ok := ServiceName(written, "shop"); ok != (want != "") || ok && name != want {
			t.Errorf("%s: %q, %v", written, name, ok)
		}
	}
}

// TestBackends: who is named twice has both weights, whichever way it is written.
func TestBackends(t *testing.T) {
	s := &split.TrafficSplit{}
	s.Namespace = "shop"
	s.Spec.Backends = []split.TrafficSplitBackend{{Service: "a", Weight: 1}, {Service: "b", Weight: -1}, {Service: "a.shop.svc", Weight: 2}}
	want := []Backend{{Service: "a", Weight: 3}, {Service: "b", Index: 1}}
	if got := Backends(s); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestPathRegex: anchored at the beginning, open at the end.
func TestPathRegex(t *testing.T) {
	for _, test := range []struct {
		expression, path string
		want             bool
	}{
		{"/api", "/api", true}, {"/api", "/api/a", true}, {"/api", "/v1/api", false},
		{"/a|/b", "/b", true}, {"/a|/b", "/c/b", false}, {"/api$", "/api", true}, {"/api$", "/api/a", false}, {"^/api", "/api", true},
	} {
		whole := regexp.MustCompile("^(?:" + PathRegex(test.expression) + ")$") // as Envoy matches
		if whole.MatchString(test.path) != test.want {
			t.Errorf("%s and %s: want %v", test.expression, test.path, test.want)
		}
	}
}

// TestMatches: methods are alternatives, headers all hold, in an order that is always the same.
func TestMatches(t *testing.T) {
	m := &specs.HTTPMatch{Name: "a", Methods: []specs.HTTPMethod{"GET", "HEAD"}, Headers: map[string]specs.HeaderRegex{"b": "2", "a": "1"}}
	got := Matches(m)
	if len(got) != 2 || *got[0].Method != "GET" || *got[1].Method != "HEAD" || got[0].Path != nil || len(got[1].Headers) != 2 || got[1].Headers[0].Name != "a" {
		t.Errorf("%+v", got)
	}
	m.Methods = append(m.Methods, specs.AnyMethod)
	if got := Matches(m); len(got) != 1 || got[0].Method != nil {
		t.Errorf("%+v", got)
	}
}
