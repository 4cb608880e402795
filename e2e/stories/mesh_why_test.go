package stories

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

const whoReads = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: readers}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  authorization:
    rules:
    - name: reader-reads
      from: [{serviceAccount: {namespace: $NAMESPACE, name: reader}}]
      to: [{methods: [GET], paths: [{prefix: /open}]}]
    - name: never-shut
      action: Deny
      to: [{paths: [{prefix: /shut}]}]
`

// asker runs weft why as a person would, from outside of the cluster.
type asker struct {
	*stage.Scene
	t      *testing.T
	binary string
	reader *stage.Caller
}

// TestWhy has a call denied, and weft why say by which rule, and what of the call it does not take. By the ID in the
// answer, the log of the pod that was called has the rule too. Once the policy takes what it was said not to, the call
// passes, and weft why says so.
func TestWhy(t *testing.T) {
	stage.Parallel(t)
	a := asker{Scene: stage.NewMeshed(t, "why"), t: t}
	echo(t, a.Scene, "echo", "declared", "{}")
	caller(t, a.Scene, "reader", false)
	a.Rollout("echo")
	a.reader = a.Caller("reader")
	a.reader.Answered(asks("echo", "/open"), nil)
	var err error
	if a.binary, err = a.BuildProgram(t.Context(), "github.com/weft-mesh/weft", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	a.Apply(whoReads)
	a.Holds("readers")

	posts := call.Request{Protocol: call.HTTP, Address: "echo:80", Path: "/open/a", Text: "a POST"}
	denied := a.reader.Call(posts)
	if denied.Status != 403 {
		t.Fatalf("a POST: %+v", denied)
	}
	a.says(1, []string{"POST", "/open/a"}, "Denied (403)", "nearest is "+a.Namespace+"/readers/reader-reads", "request.method is POST, the rule takes GET")
	a.logged(denied.Header.Get("x-request-id"), "[none]")
	shut := a.reader.Call(asks("echo", "/shut/b"))
	a.says(1, []string{"GET", "/shut/b"}, "rule never-shut of MeshPolicy "+a.Namespace+"/readers denies it", "request.path is /shut/b")
	a.logged(shut.Header.Get("x-request-id"), a.Namespace+"/readers/never-shut")
	a.says(0, []string{"GET", "/open/a"}, "Allowed", "rule reader-reads of MeshPolicy "+a.Namespace+"/readers allows it")

	a.Apply(strings.Replace(whoReads, "methods: [GET]", "methods: [GET, POST]", 1))
	a.Holds("readers")
	a.reader.Answered(posts, nil)
	a.says(0, []string{"POST", "/open/a"}, "Allowed", "rule reader-reads")
}

// says wants weft why of the reader's call to echo to end with a code, and to say all of some words.
func (a asker) says(code int, asked []string, all ...string) {
	a.t.Helper()
	args := append([]string{"why", a.Namespace + "/reader", a.Namespace + "/echo:80"}, asked...)
	out, err := exec.CommandContext(a.t.Context(), a.binary, append(args, "--kubeconfig", a.Kubeconfig)...).CombinedOutput()
	ended := 0
	if end := (*exec.ExitError)(nil); errors.As(err, &end) {
		ended = end.ExitCode()
	} else if err != nil {
		a.t.Fatalf("weft %q: %v", args, err)
	}
	if ended != code {
		a.t.Errorf("weft %q ended with %d, wanted %d", args, ended, code)
	}
	for _, word := range all {
		if !strings.Contains(string(out), word) {
			a.t.Errorf("weft %q does not say %q:\n%s", args, word, out)
		}
	}
}

// logged wants the sidecar of echo to have logged a request by its ID, with why it was denied.
func (a asker) logged(id, why string) {
	a.t.Helper()
	if id == "" {
		a.t.Error("a denial has no ID")
		return
	}
	a.Until(30*time.Second, "echo logs "+id, func(context.Context) error {
		for _, pod := range a.Pods("echo") {
			for _, line := range stage.AccessLog(a.Log(pod, sidecar.ProxyContainer)) {
				if line["request_id"] == id && strings.Contains(fmt.Sprint(line["details"]), why) {
					return nil
				}
			}
		}
		return fmt.Errorf("no line of it has %s", why)
	})
}
