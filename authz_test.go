package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/opa"
)

// ended is the code that a command ends with.
func ended(err error) int {
	if err == nil {
		return 0
	}
	end := exit{1, err}
	errors.As(err, &end)
	return end.code
}

func written(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// denial is a decision about a POST, by a policy that takes GET.
func denial() (authz.Record, *v1alpha1.Authorization) {
	says := &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "reads", To: []v1alpha1.AuthorizationOperation{{Methods: []string{"GET"}}}}}}
	from, _ := opa.SourceOf("spiffe://mesh.test/ns/shop/sa/web")
	return authz.Record{
		ID: "id-1", Time: storyTime, Verdict: authz.Denied, Status: 403, Section: "authorization", Details: "rbac_access_denied_matched_policy[none]",
		Proxy: authz.Proxy{Namespace: "shop", Pod: "orders-0", ServiceAccount: "orders"},
		Law:   &authz.Law{TrustDomain: "mesh.test", Levels: []authz.Level{{Name: "port", Policies: []authz.Policy{{Key: "shop/callers", Digest: authz.Digest(says)}}}}},
		Input: opa.Input{Source: from, Request: opa.RequestOf("POST", "/orders/7", "orders", nil), Destination: opa.Receiver{Namespace: "shop", ServiceAccount: "orders", Port: 8080}},
	}, says
}

// logOf is a decision log, chained, and its key's file.
func logOf(t *testing.T) (file, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	chain := authz.Chain{Key: private}
	var out bytes.Buffer
	r, says := denial()
	for _, e := range []authz.Entry{{Policy: &authz.Text{Digest: authz.Digest(says), Authorization: says}}, {Decision: &r}} {
		entry, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		line, err := chain.Next(entry)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	return written(t, "log", out.Bytes()), written(t, "key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestVerifyLog: of a log that is whole that is said, and of an edited one the line, by the code too.
func TestVerifyLog(t *testing.T) {
	t.Parallel()
	file, key := logOf(t)
	var out bytes.Buffer
	if err := verifyLog(&out, []string{file, "--key", key}); err != nil || !strings.Contains(out.String(), "lines 1 to 2 follow one another") || !strings.Contains(out.String(), "signed") {
		t.Error(out.String(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := written(t, "edited", bytes.Replace(text, []byte("POST"), []byte("GET"), 1))
	if err := verifyLog(&out, []string{edited}); ended(err) != notAllowed || !strings.Contains(err.Error(), "line 2: it was edited") {
		t.Error(err)
	}
	for _, args := range [][]string{nil, {"no such file"}, {file, "--key", file}} {
		if err := verifyLog(&out, args); ended(err) != inError {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestReplayLog: a policy that takes POST lets in what was denied.
func TestReplayLog(t *testing.T) {
	t.Parallel()
	file, _ := logOf(t)
	policy := func(methods string) string {
		return written(t, "policy.yaml", []byte("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {namespace: shop, name: callers}\nspec: {authorization: {rules: [{name: reads, to: [{methods: ["+methods+"]}]}]}}\n"))
	}
	var out bytes.Buffer
	if err := replayLog(&out, []string{file, "--policy", policy("GET, POST")}); ended(err) != notAllowed || !strings.Contains(out.String(), "allowed now, 1 times: POST shop/orders:8080") {
		t.Error(out.String(), err)
	}
	out.Reset()
	if err := replayLog(&out, []string{file, "--policy", policy("GET, PUT")}); err != nil || out.String() != "1 decisions, 1 the same\n" {
		t.Error(out.String(), err)
	}
	for _, args := range [][]string{{file}, {"--policy", policy("GET")}, {file, "--policy", file}} {
		if err := replayLog(&out, args); ended(err) != inError {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// remembered answers as weft authz does.
func remembered(t *testing.T) asking {
	t.Helper()
	r, says := denial()
	m := query.Memory{Window: authz.NewWindow(10, 1<<20), Tally: authz.NewTally(10), Shelf: authz.NewShelf(1 << 20), Since: storyTime}
	m.Window.Add(r, 100)
	m.Shelf.Set("shop/callers", says)
	m.Shelf.Set("shop/callers", &v1alpha1.Authorization{}) // it was edited since
	r.Verdict, r.Shadow = authz.Allowed, &authz.Shadow{Result: authz.Denied, Policy: "shop/tried", Rule: "none"}
	m.Tally.Add(r)
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	return func(_ context.Context, do func(query.Client) error) error {
		return do(query.Client{URL: server.URL, HTTP: server.Client()})
	}
}

// TestWhyID: a request is explained by what the policy said when it was denied; of one that nobody remembers that is said.
func TestWhyID(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := explanation{out: &out, now: storyTime, authz: remembered(t)}
	if err := e.run(t.Context(), []string{"id-1"}); ended(err) != notAllowed || !strings.Contains(out.String(), "nearest is shop/callers/reads") || !strings.Contains(out.String(), "request.method is POST, the rule takes GET") {
		t.Error(out.String(), err)
	}
	if err := e.run(t.Context(), []string{"id-2"}); ended(err) != inError || !strings.Contains(err.Error(), "nothing is remembered of request id-2") {
		t.Error(err)
	}
	if err := e.run(t.Context(), []string{"id-1", "--host", "a"}); ended(err) != inError {
		t.Error(err)
	}
}

// TestTellShadow: what a policy in Shadow would have denied, and what if it is nothing.
func TestTellShadow(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := tellShadow(t.Context(), &out, []string{"shop/tried"}, remembered(t)); err != nil || !strings.Contains(out.String(), "1  POST shop/orders:8080  called by spiffe://mesh.test/ns/shop/sa/web  rule none") {
		t.Error(out.String(), err)
	}
	out.Reset()
	if err := tellShadow(t.Context(), &out, []string{"shop/other"}, remembered(t)); err != nil || !strings.Contains(out.String(), "denied nothing") || !strings.Contains(out.String(), "shop/tried") {
		t.Error(out.String(), err)
	}
	if err := tellShadow(t.Context(), &out, []string{"tried"}, remembered(t)); ended(err) != inError {
		t.Error(err)
	}
}

// TestMemoryFlags: what cannot be is refused, with what to write.
func TestMemoryFlags(t *testing.T) {
	t.Parallel()
	none := func(string) ([]byte, error) { return nil, os.ErrNotExist }
	for args, says := range map[string]string{
		"":                                "",
		"--log=- --log-chain":             "",
		"--query-address=[::1]:1":         "",
		"--query-address=0.0.0.0:15013":   "loopback",
		"--query-address=:15013":          "loopback",
		"--log-chain":                     "--log",
		"--log=- --log-key=k":             "--log-chain",
		"--log=- --log-chain --log-key=k": "--log-key k",
		"--log-percent=101":               "0 to 100",
		"--window-mib=0":                  "1 or more",
		"shadoww":                         "unknown argument",
	} {
		var m memory
		err := m.parse(strings.Fields(args), none)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("weft authz %s: %v", args, err)
		}
	}
}

// TestOldestReady: the pod that is asked is the one that proxies tell.
func TestOldestReady(t *testing.T) {
	t.Parallel()
	pod := func(name string, age time.Duration, ready corev1.ConditionStatus) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(storyTime.Add(-age))},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	if got, ok := oldestReady([]corev1.Pod{pod("new", 1, "True"), pod("old", 3, "False"), pod("elder", 2, "True")}); got != "elder" || !ok {
		t.Error(got, ok)
	}
	if _, ok := oldestReady([]corev1.Pod{pod("old", 3, "False")}); ok {
		t.Error("one that is not ready is asked")
	}
}
