package stories

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/stage"
)

// badPod is a pod that cannot be in the mesh, and words of the message that says so.
type badPod struct {
	name        string
	annotations string
	hostNetwork bool
	user        int
	words       []string
}

var badPods = []badPod{
	{name: "an unknown annotation", annotations: `{mesh.weft.dev/proxy-colour: blue}`, words: []string{"mesh.weft.dev/proxy-colour"}},
	{name: "no number of threads", annotations: `{mesh.weft.dev/proxy-concurrency: many}`, words: []string{"mesh.weft.dev/proxy-concurrency", "many"}},
	{name: "too many threads", annotations: `{mesh.weft.dev/proxy-concurrency: "1000"}`, words: []string{"mesh.weft.dev/proxy-concurrency", "1000"}},
	{name: "no log level", annotations: `{mesh.weft.dev/proxy-log-level: loud}`, words: []string{"mesh.weft.dev/proxy-log-level", "loud"}},
	{name: "no quantity", annotations: `{mesh.weft.dev/proxy-cpu: fast}`, words: []string{"mesh.weft.dev/proxy-cpu", "fast"}},
	{name: "no port", annotations: `{mesh.weft.dev/exclude-inbound-ports: "80,http"}`, words: []string{"mesh.weft.dev/exclude-inbound-ports", "http"}},
	{name: "a port out of range", annotations: `{mesh.weft.dev/exclude-outbound-ports: "70000"}`, words: []string{"mesh.weft.dev/exclude-outbound-ports", "70000"}},
	{name: "no range of addresses", annotations: `{mesh.weft.dev/exclude-outbound-cidrs: 10.0.0.0/40}`, words: []string{"mesh.weft.dev/exclude-outbound-cidrs", "10.0.0.0/40"}},
	{name: "the node's network", hostNetwork: true, words: []string{"hostNetwork", "mesh.weft.dev/inject=disabled"}},
	{name: "the proxy's user", user: 1337, words: []string{"runAsUser", "1337"}},
}

// TestAPodThatCannotBeInTheMeshIsRefused creates pods that cannot, and wants each refusal to say why
// and what to do; the same pods outside the mesh are let be.
func TestAPodThatCannotBeInTheMeshIsRefused(t *testing.T) {
	s := stage.NewMeshed(t, "bad")
	outside := s.Outside("outside")
	if err := tries(s, t, badPod{}); err != nil {
		t.Fatalf("a pod without fault is refused: %v", err)
	}
	for _, bad := range badPods {
		err := tries(s, t, bad)
		refusedWith(t, bad.name, err, bad.words...)
		if err := tries(outside, t, bad); err != nil {
			t.Errorf("%s outside the mesh: %v", bad.name, err)
		}
	}
	for _, level := range []string{"restricted", "baseline"} {
		tight := s.Labelled("tight", map[string]string{"mesh.weft.dev/inject": "enabled", "pod-security.kubernetes.io/enforce": level})
		refusedWith(t, "a namespace that allows no NET_ADMIN ("+level+")", tries(tight, t, badPod{}), "NET_ADMIN", level, "mesh.weft.dev/inject=disabled")
	}
}

// tries creates a pod, without any coming into being.
func tries(s *stage.Scene, t *testing.T, bad badPod) error {
	t.Helper()
	user, annotations := 65532, "{}"
	if bad.user != 0 {
		user = bad.user
	}
	if bad.annotations != "" {
		annotations = bad.annotations
	}
	return s.Tries(manifest(t, "mesh/bad.yaml", "$ANNOTATIONS", annotations,
		"$HOST_NETWORK", strconv.FormatBool(bad.hostNetwork), "$USER", strconv.Itoa(user)))
}

func refusedWith(t *testing.T, name string, err error, words ...string) {
	t.Helper()
	if err == nil {
		err = errors.New("it is let in")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the message does not speak of %q: %v", name, word, err)
			return
		}
	}
	t.Logf("%s: %v", name, err)
}
