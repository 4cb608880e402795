package stories

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/stage"
)

// TestManyIdentities has many new ServiceAccounts ask for an identity at once, in both ways of
// issuance, and prints the time that it took and what it cost the API server. The accounts' pods need
// not run for it: they are scheduled nowhere, and the test asks in their place, with their tokens.
func TestManyIdentities(t *testing.T) {
	s := stage.NewMeshed(t, "many")
	steady(t, s, 2*time.Minute)
	address := (&change{Scene: s, t: t}).openWindow()
	t.Cleanup(func() {
		if err := issuance(context.Background(), s, "null"); err != nil {
			t.Error(err)
		}
	})
	accounts := stage.Size(20, 200)
	for _, way := range []string{"Certificates", "Intermediate"} {
		if err := issuance(t.Context(), s, strconv.Quote(way)); err != nil {
			t.Fatal(err)
		}
		steady(t, s, 5*time.Minute)
		many(t, s.Beside("many"), address, way, accounts)
	}
}

// issuance has the Mesh issue in that way, a JSON value.
func issuance(ctx context.Context, s *stage.Scene, way string) error {
	_, err := s.Kubectl(ctx, "patch", "mesh", "default", "--type=merge", "-p", `{"spec":{"identity":{"issuance":`+way+`}}}`)
	return err
}

// unscheduled is an account and a pod of it that never runs.
const unscheduled = `---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: account-%[1]d}}
---
apiVersion: v1
kind: Pod
metadata: {name: account-%[1]d, labels: {app: account}}
spec:
  schedulerName: nobody
  serviceAccountName: account-%[1]d
  automountServiceAccountToken: false
  containers: [{name: caller, image: $CALLER_IMAGE, args: [serve]}]
`

// many measures the identities of n new accounts.
func many(t *testing.T, s *stage.Scene, address, way string, n int) {
	t.Helper()
	before := writes(t, s)
	began := time.Now()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, unscheduled, i)
	}
	s.Apply(text.String())
	created := time.Since(began)
	var pods corev1.PodList
	if err := s.List(t.Context(), &pods, client.InNamespace(s.Namespace)); err != nil || len(pods.Items) != n {
		t.Fatalf("%d pods, want %d: %v", len(pods.Items), n, err)
	}
	var all sync.WaitGroup
	seats := make(chan struct{}, 16) // few at a time, not to be a crowd at the API server
	for _, pod := range pods.Items {
		token := tokenOf(t, s, pod, "weft", true)
		all.Go(func() {
			seats <- struct{}{}
			defer func() { <-seats }()
			given(t, s, address, visitor{name: pod.Name, token: token, says: pod.Name})
		})
	}
	all.Wait()
	took := time.Since(began)
	after := writes(t, s)
	t.Logf("%s: %d new ServiceAccounts have their identity %s after the first was created (creating them and their pods took %s)",
		way, n, took.Round(time.Millisecond), created.Round(time.Millisecond))
	for _, resource := range []string{"certificates", "certificaterequests", "secrets", "events"} {
		t.Logf("%s: %-20s %5d writes, %.1f for each account", way, resource, after[resource]-before[resource], float64(after[resource]-before[resource])/float64(n))
	}
}

// given waits until a visitor is given the identity of the account of its name, and no other.
func given(t *testing.T, s *stage.Scene, address string, v visitor) {
	err := stage.Until(t.Context(), 10*time.Minute, func(ctx context.Context) error {
		names, err := v.secrets(ctx, address)
		if want := identity(s, v.name); err == nil && (len(names) != 1 || names[0] != want) {
			t.Errorf("%s is given %v", v.name, names)
		}
		return err
	})
	if err != nil {
		t.Errorf("%s is given no identity: %v", v.name, err)
	}
}

// writes is how many changes of each resource the API server has been asked for.
func writes(t *testing.T, s *stage.Scene) map[string]int {
	t.Helper()
	text, err := s.Clients.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || strings.Contains(line, `dry_run="All"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `resource="`)
		resource, _, _ := strings.Cut(rest, `"`)
		_, rest, _ = strings.Cut(line, `verb="`)
		switch verb, _, _ := strings.Cut(rest, `"`); verb {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE":
			n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum[resource] += int(n)
		}
	}
	return sum
}
