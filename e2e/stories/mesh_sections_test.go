package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// sections are what a policy about Service polite says, one after the other, and which of Envoy's resources
// may differ by it. A limit is a filter that the listener's Routes share, so its first and its last one
// change the listener too.
var sections = []struct {
	says, kinds string
}{
	{"loadBalancing: {algorithm: Random}", "Cluster"},
	{"loadBalancing: {algorithm: RoundRobin, slowStart: {window: 10s}}", "Cluster"},
	{"outlierDetection: {consecutive5xx: 7}", "Cluster"},
	{"circuitBreaker: {maxRequests: 900}", "Cluster"},
	{"circuitBreaker: {maxRequests: 800}", "Cluster"},
	{"retry: {attempts: 2}", "Cluster|RouteConfiguration"},
	{"retry: {attempts: 3}", "RouteConfiguration"},
	{"timeout: {request: 20s}", "Cluster|RouteConfiguration"},
	{"timeout: {request: 20s, connect: 2s}", "Cluster"},
	{"hedging: {delay: 9s}", "Cluster|RouteConfiguration"},
	{"rateLimit: {local: {limits: [{requests: 100000, per: 1s}]}}", "Cluster|RouteConfiguration|TypedExtensionConfig|Listener"},
	{"rateLimit: {local: {limits: [{requests: 90000, per: 1s}]}}", "TypedExtensionConfig"},
	{"admissionControl: {}", "RouteConfiguration|TypedExtensionConfig|Listener"},
	{"admissionControl: {successRateThreshold: 50}", "TypedExtensionConfig"},
	{`fault: {until: "$LATER", headers: [{name: x-try, value: "yes"}], abort: {httpStatus: 418}}`, "RouteConfiguration|TypedExtensionConfig|Listener"},
	{`fault: {until: "$LATER", headers: [{name: x-try, value: "yes"}], abort: {httpStatus: 503}}`, "RouteConfiguration"},
	{`healthCheck: {http: {path: /}, interval: 5s}`, "Cluster|RouteConfiguration|Listener"},
	{`locality: {prefer: [topology.kubernetes.io/zone]}`, "Cluster|ClusterLoadAssignment"},
	{`extensions: [{name: marked, lua: {source: "function envoy_on_request(h) h:headers():add('x-by', '1') end"}}]`, "Cluster|ClusterLoadAssignment|RouteConfiguration|Listener"},
	{`extensions: [{name: marked, lua: {source: "function envoy_on_request(h) h:headers():add('x-by', '2') end"}}]`, "RouteConfiguration"},
}

// TestSectionsTouchOnlyWhatTheyMust: sections of a policy come, change and go while its Service is called 300
// times a second. No request fails, and of all that the operator serves nothing differs but what the section
// is about.
func TestSectionsTouchOnlyWhatTheyMust(t *testing.T) {
	s := stage.NewMeshed(t, "sections")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("polite")
	undisturbed(s)
	operatorTellsAll(t, s)
	from := s.Caller("caller")
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, 300)
	from.Step("no policy")
	from.Hold(600)
	log := &commits{scene: s}
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range sections {
		from.Step(c.says)
		log.skip()
		section(s, "sections", "polite", strings.ReplaceAll(c.says, "$LATER", later))
		touched := log.touched()
		s.Step("%s: %s", c.says, strings.Join(touched, ", "))
		log.only(t, c.says, touched, c.kinds)
		if len(touched) == 0 {
			t.Errorf("%s: nothing differs by it", c.says)
		}
		from.Hold(300)
	}
	from.Step("the policy goes")
	log.skip()
	s.Remove("{apiVersion: mesh.weft.dev/v1alpha1, kind: MeshPolicy, metadata: {name: sections}}")
	s.Until(time.Minute, "its last section is gone", func(context.Context) error {
		if len(log.touched()) == 0 {
			return fmt.Errorf("nothing differs")
		}
		return nil
	})
	log.only(t, "the policy goes", log.touched(), "RouteConfiguration")
	from.Hold(300)
	judge(t, s, "300 requests per second while a policy's sections come, change and go", from.Stop())
}

// operatorTellsAll has the operator log what its commits touch until the story is over.
func operatorTellsAll(t *testing.T, s *stage.Scene) {
	t.Helper()
	args := func(ctx context.Context, all string) error {
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = stage.System, stage.Operator
		patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": %s}]`, all)
		if err := s.Stage.Patch(ctx, d, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
			return err
		}
		return s.WaitDeployment(ctx, stage.System, stage.Operator, rollout)
	}
	t.Cleanup(func() {
		if err := args(context.Background(), `["operator"]`); err != nil {
			t.Error(err)
		}
	})
	if err := args(t.Context(), `["operator", "--zap-log-level=debug"]`); err != nil {
		t.Fatal(err)
	}
}

// commits are what the operator's log says of its commits.
type commits struct {
	scene *stage.Scene
	read  int // so many lines are of what was before
}

func (c *commits) lines() []string {
	var pods corev1.PodList
	err := c.scene.List(context.Background(), &pods, client.InNamespace(stage.System), client.MatchingLabels{"app.kubernetes.io/component": "operator"})
	if err != nil || len(pods.Items) != 1 {
		return nil
	}
	return strings.Split(strings.TrimSpace(c.scene.Log(pods.Items[0], "operator")), "\n")
}

// skip leaves out what was until now.
func (c *commits) skip() { c.read = len(c.lines()) }

// touched are the resources that differ since then.
func (c *commits) touched() (names []string) {
	all := c.lines()
	for _, line := range all[min(c.read, len(all)):] {
		var entry struct {
			Message string   `json:"msg"`
			Touched []string `json:"touched"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "Commit" {
			names = append(names, entry.Touched...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// only wants what is touched to be of some kinds, and the Service's.
func (c *commits) only(t *testing.T, by string, touched []string, kinds string) {
	t.Helper()
	own := regexp.MustCompile("^(" + kinds + ") .*[/]" + c.scene.Namespace + "/polite/")
	for _, name := range touched {
		if !own.MatchString(name) {
			t.Errorf("%s: it touched %s; want only %s of the Service", by, name, kinds)
		}
	}
}
