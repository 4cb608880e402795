package stories

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestARouteThatASidecarRefuses makes the Envoy of one sidecar refuse one of two routes of a Service that
// it gets together. The other is served, the one that was there before loses no request, and the refused
// one says who refused what. Corrected, it is served too.
func TestARouteThatASidecarRefuses(t *testing.T) {
	s := stage.NewMeshed(t, "nack")
	meshShop(t, s, "polite", "drain", "", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("polite")
	s.Apply(routeBefore)
	callers := []*stage.Caller{s.Caller("caller")}
	callers = append(callers, strictCaller(t, s, callers[0].Pod))
	served := func(path, route string) {
		t.Helper()
		for _, c := range callers {
			c.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: path}, routedBy(route))
		}
	}
	served("/api", "before")
	for _, c := range callers {
		c.Start(load.Target{Address: "polite:80", Host: "polite"}, 50)
	}
	step := func(name string) {
		s.Step("%s", name)
		for _, c := range callers {
			c.Step(name)
		}
	}

	step("a sidecar refuses a route")
	routes := manifest(t, "mesh/refused-routes.yaml")
	s.Apply(routes)
	strict := callers[1].Pod
	s.RouteShows("bad", refused(gwv1.RouteReasonUnsupportedValue, "proxy "+strict.Namespace+"/"+strict.Name, "refused generation 1 ", "regex"))
	s.RouteShows("beside", accepted)
	s.RouteShows("before", accepted)
	served("/beside", "beside")
	served("/bad/"+strings.Repeat("a", 60)+"/"+strings.Repeat("1", 60), "before")
	callers[1].Hold(200)

	step("the route is corrected")
	s.Apply(strings.ReplaceAll(routes, "/bad/[a-z]{60}/[0-9]{60}", "/bad/[a-z]+"))
	s.RouteShows("bad", accepted)
	served("/bad/mended", "bad")
	callers[1].Hold(200)
	for _, c := range callers {
		results := c.Stop()
		t.Logf("50 requests per second from %s\n%s", c.Pod.Name, load.Print(load.Table(results, nil)))
		for _, r := range load.Failures(results, nil) {
			t.Errorf("%s: %s %s (%s): %s", c.Pod.Name, r.Method, r.ID, r.Step, r.Failed)
		}
	}
}

const routeBefore = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: before
spec:
  parentRefs: [{group: "", kind: Service, name: polite}]
  rules:
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Route, value: before}]}}]
    backendRefs: [{name: polite, port: 80}]
`

// routedBy wants a call to have passed a route that marks it.
func routedBy(route string) func(call.Outcome) error {
	return func(o call.Outcome) error {
		if got := o.Answer.Headers.Get("X-Route"); got != route {
			return fmt.Errorf("it passed route %q, not %q", got, route)
		}
		return nil
	}
}

// patternLimit is where a sidecar's bootstrap lifts Envoy's limit on regular expressions.
var patternLimit = regexp.MustCompile(`(re2\.max_program_size\.error_level"?: ?)[0-9.e+]+`)

// strictCaller is a caller like another, whose sidecar refuses regular expressions of more than 100
// instructions: no setting of Weft brings that about, so its pods come with the other's sidecar, changed.
func strictCaller(t *testing.T, s *stage.Scene, like corev1.Pod) *stage.Caller {
	t.Helper()
	const name = "strict"
	spec := like.Spec.DeepCopy()
	spec.NodeName = ""
	changed := false
	for i, c := range spec.InitContainers {
		for j, arg := range c.Args {
			if c.Name == sidecar.ProxyContainer && patternLimit.MatchString(arg) {
				spec.InitContainers[i].Args[j], changed = patternLimit.ReplaceAllString(arg, "${1}100"), true
			}
		}
	}
	if !changed {
		t.Fatalf("the bootstrap of the sidecar of pod %s sets no limit on regular expressions", like.Name)
	}
	labels := map[string]string{"app": name, sidecar.InjectLabel: sidecar.Disabled}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: like.Annotations}, Spec: *spec},
	}}
	if err := s.Create(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	return s.Caller(name)
}
