package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const toTry = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: tried}
spec:
  mode: Shadow
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rules:
    - name: never-open
      action: Deny
      to: [{paths: [{prefix: /open/tried}]}]
`

// recaller asks weft what was decided, as a person would, from outside of the cluster.
type recaller struct {
	*stage.Scene
	t      *testing.T
	binary string
}

// TestDecisions installs weft authz and has the Mesh tell it of denials. A call that was denied is explained by its ID, by
// what the policy said then: also once the policy takes the call, and the pod that denied it is gone. What a policy in
// Shadow would deny is counted. While weft authz is away nothing fails.
func TestDecisions(t *testing.T) {
	r := recaller{Scene: stage.NewMeshed(t, "decisions"), t: t}
	steady(t, r.Scene, 2*time.Minute) // makes the Mesh where there is none
	r.install()
	echo(t, r.Scene, "echo", "declared", "{}")
	caller(t, r.Scene, "reader", false)
	r.Rollout("echo")
	reader := r.Caller("reader")
	reader.Answered(asks("echo", "/open"), nil)
	var err error
	if r.binary, err = r.BuildProgram(t.Context(), "github.com/weft-mesh/weft", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	r.Apply(whoReads)
	r.Apply(toTry)
	r.Holds("readers")

	posts := call.Request{Protocol: call.HTTP, Address: "echo:80", Path: "/open/a?password=hidden", Text: "a POST"}
	denied := reader.Call(posts)
	if denied.Status != 403 {
		t.Fatalf("a POST: %+v", denied)
	}
	id := denied.Header.Get("x-request-id")
	explained := []string{"Denied (403)", r.Namespace + "/sa/reader", "nearest is " + r.Namespace + "/readers/reader-reads", "request.method is POST, the rule takes GET"}
	r.says(1, []string{"why", id}, explained...)

	reader.Answered(asks("echo", "/open/tried"), nil)
	r.says(0, []string{"authz", "shadow", r.Namespace + "/tried"}, "GET "+r.Namespace+"/echo:", "never-open", r.Namespace+"/sa/reader")

	r.Apply(strings.Replace(whoReads, "methods: [GET]", "methods: [GET, POST]", 1))
	r.Holds("readers")
	reader.Answered(posts, nil)
	if _, err := r.Kubectl(t.Context(), "-n", r.Namespace, "rollout", "restart", "deployment/echo"); err != nil {
		t.Fatal(err)
	}
	r.Rollout("echo")
	r.says(1, []string{"why", id}, explained...)

	if _, err := r.Kubectl(t.Context(), "-n", "weft-system", "scale", "deployment/weft-authz", "--replicas=0"); err != nil {
		t.Fatal(err)
	}
	r.hears(metav1.ConditionFalse, "install it with dist/authz.yaml")
	for range 50 {
		if got := reader.Call(asks("echo", "/shut/b")); got.Status != 403 {
			t.Fatalf("without weft authz: %+v", got)
		}
		reader.Answered(asks("echo", "/open"), nil)
	}
}

// install has weft authz there and decisions told, and waits until it hears.
func (r recaller) install() {
	r.t.Helper()
	patch := func(ctx context.Context, value string) error {
		_, err := r.Kubectl(ctx, "patch", "mesh", "default", "--type=merge", "-p", `{"spec":{"decisionLog":`+value+`}}`)
		return err
	}
	installAuthz(r.t, r.Scene)
	r.t.Cleanup(func() {
		if err := patch(context.Background(), "null"); err != nil {
			r.t.Error(err)
		}
	})
	if err := patch(r.t.Context(), `{"decisions":"Denied"}`); err != nil {
		r.t.Fatal(err)
	}
	r.hears(metav1.ConditionTrue, "hears what proxies decide")
}

// installAuthz applies what we ship of weft authz, until the end of the story, and waits until it is ready.
func installAuthz(t *testing.T, s *stage.Scene) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Root, "dist", "authz.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stage.Remove(context.Background(), "", string(text)); err != nil {
			t.Error(err)
		}
	})
	s.Apply(string(text))
	took := s.Until(3*time.Minute, "weft authz is ready", func(ctx context.Context) error {
		_, err := s.Kubectl(ctx, "-n", "weft-system", "wait", "--for=condition=Available", "--timeout=1s", "deployment/weft-authz")
		return err
	})
	s.Step("weft authz is ready after %s", took)
}

// hears waits until the Mesh says whether weft authz hears.
func (r recaller) hears(status metav1.ConditionStatus, words string) {
	r.t.Helper()
	r.Until(time.Minute, "the Mesh says that decisions are heard: "+string(status), func(ctx context.Context) error {
		var m v1alpha1.Mesh
		if err := r.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
			return err
		}
		c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionDecisionsHeard)
		if c == nil || c.Status != status || !strings.Contains(c.Message, words) {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

// says wants weft to end with a code and to say all of some words, soon: what proxies tell takes a second.
func (r recaller) says(code int, args []string, all ...string) {
	r.t.Helper()
	r.Until(time.Minute, fmt.Sprintf("weft %q says %q", args, all), func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, r.binary, append(args, "--kubeconfig", r.Kubeconfig)...).CombinedOutput()
		ended := 0
		if end := (*exec.ExitError)(nil); errors.As(err, &end) {
			ended = end.ExitCode()
		} else if err != nil {
			return err
		}
		if strings.Contains(string(out), "hidden") {
			r.t.Errorf("weft %q tells a secret: %s", args, out)
		}
		for _, word := range all {
			if !strings.Contains(string(out), word) {
				return fmt.Errorf("it does not say %q:\n%s", word, out)
			}
		}
		if ended != code {
			return fmt.Errorf("it ended with %d, not %d:\n%s", ended, code, out)
		}
		return nil
	})
}
