package envoy_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/smi"
)

var anyAccount = regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9.-]+$`)

// Whatever a TrafficTarget says, the filters that come of it are what Envoy's own checks take, nobody's name
// becomes a part of an expression, and what is wrong allows nothing.
func FuzzAccess(f *testing.F) {
	f.Add("ServiceAccount", "cart", "", "web", "", "HTTPRouteGroup", "TCPRoute", "m", "/a", "GET", "x-a", "b", int32(80))
	f.Add("Group", "", "shop", "web'] || true || '' in ['", "a/b", "TCPRoute", "UDPRoute", "", "(", "*", ":path", "", int32(0))
	f.Add("ServiceAccount", "cart", "other", "Web", "x)%", "TCPRoute", "TCPRoute", "%", ".*", "", "host", "[", int32(-1))
	f.Fuzz(func(t *testing.T, kind, name, namespace, source, from, first, second, match, path, method, header, value string, port int32) {
		for _, s := range []string{kind, name, namespace, source, from, first, second, match, path, method, header, value} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				t.Skip()
			}
		}
		target := &access.TrafficTarget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "t"}}
		target.Spec.Destination = access.IdentityBindingSubject{Kind: kind, Name: name, Namespace: namespace}
		target.Spec.Sources = []access.IdentityBindingSubject{{Kind: "ServiceAccount", Name: source, Namespace: from}, {Kind: kind, Name: source}}
		target.Spec.Rules = []access.TrafficTargetRule{{Kind: first, Name: "x"}, {Kind: second, Name: "x", Matches: []string{match}}}
		group, tcp := &specs.HTTPRouteGroup{}, &specs.TCPRoute{}
		group.Spec.Matches = []specs.HTTPMatch{{Name: match, PathRegex: path, Methods: []specs.HTTPMethod{specs.HTTPMethod(method)}, Headers: map[string]specs.HeaderRegex{header: specs.HeaderRegex(value)}}}
		tcp.Spec.Matches.Ports = []int32{port & 0xffff}
		got := smi.Access(target, smi.Specs{
			Namesake:       func(string, string) bool { return false },
			HTTPRouteGroup: func(string) (*specs.HTTPRouteGroup, bool) { return group, true },
			TCPRoute:       func(string) (*specs.TCPRoute, bool) { return tcp, true },
			Regex:          mesh.CheckRegex, Header: mesh.ValidHeaderName,
		})
		if got.Destination == "" && len(got.Allows) > 0 || kind != "ServiceAccount" && len(got.Problems) == 0 {
			t.Errorf("%+v", got)
		}
		for _, a := range got.Allows {
			for _, s := range a.Sources {
				if !anyAccount.MatchString(s) {
					t.Errorf("%q is let in", s)
				}
			}
			if a.Traffic == smi.Requests && (mesh.CheckRegex(value) != nil || path != "" && mesh.CheckRegex(path) != nil) {
				t.Errorf("what cannot be used allows %+v", a)
			}
		}
		for _, filter := range []string{mesh.AccessRequests, mesh.AccessBytes, mesh.AccessUndeclared} {
			m := envoy.Access(mesh.Access{Name: filter, Guarded: true, TrustDomain: "mesh.test", Allows: got.Allows})
			config, err := m.TypedConfig.UnmarshalNew()
			if err != nil {
				t.Fatal(err)
			}
			if err := config.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
				t.Errorf("%v in %v", err, config)
			}
		}
	})
}
