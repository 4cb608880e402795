package stories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestAPeerHasExactlyOneName shows certificates at the door of an application in the mesh. They are
// signed with the mesh's own key, which only this test has beside cert-manager.
func TestAPeerHasExactlyOneName(t *testing.T) {
	s := stage.NewMeshed(t, "peer")
	s.OnThisMachine()
	echo(t, s, "echo", "declared", "{}")
	s.Rollout("echo")
	ours := meshAuthority(t, s, steady(t, s, 2*time.Minute))
	one, two := identity(s, "one"), identity(s, "two")
	shows := func(leaf stage.Leaf) call.Outcome {
		return call.Do(t.Context(), call.Request{Protocol: call.Mesh, Address: at(s.Pod("echo").Status.PodIP, 9000), Text: "let me in",
			Certificate: leaf.Certificate, Key: leaf.Key, Within: 5 * time.Second})
	}
	good := ours.Peer(one)
	s.Until(time.Minute, "a peer with one name is let in", func(context.Context) error { return shows(good).Err() })
	for what, leaf := range map[string]stage.Leaf{
		"two names":               ours.Peer(one, two),
		"no name":                 ours.Peer(),
		"another authority's":     stage.NewAuthority(t).Peer(one),
		"a name that is a host's": ours.Leaf("echo.test"),
	} {
		out := shows(leaf)
		if out.Err() == nil {
			t.Errorf("a certificate with %s is let in: %+v", what, out)
		}
		t.Logf("a certificate with %s: %s", what, out.Failed)
	}
}

// meshAuthority signs as the mesh's own issuer does.
func meshAuthority(t *testing.T, s *stage.Scene, now roots) *stage.Authority {
	t.Helper()
	_, name, _ := strings.Cut(now.issuer, "/")
	var secret corev1.Secret
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: stage.System, Name: name}, &secret); err != nil {
		t.Fatal(err)
	}
	return stage.AuthorityOf(t, secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
}

// TestAnIssuerThatNeverAnswers names an issuer that does not exist: what runs goes on, the Mesh says
// what is wrong, and the change is taken back without a trace.
func TestAnIssuerThatNeverAnswers(t *testing.T) {
	s := stage.NewMeshed(t, "silent")
	meshShop(t, s, "polite", "drain", "", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("polite")
	c := s.Caller("caller")
	c.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80"}, nil)
	before := steady(t, s, 2*time.Minute)
	_, mesh, err := theRoots(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	c.Start(load.Target{Address: "polite:80", Host: "polite"}, 300)
	c.Step("an issuer that does not exist")
	restore := func(ctx context.Context) error { return ownAuthority(ctx, s, mesh.GetName()) }
	t.Cleanup(func() {
		if err := restore(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Kubectl(t.Context(), "patch", "mesh", mesh.GetName(), "--type=merge", "-p",
		`{"spec":{"identity":{"authorityRevision":null,"issuerRef":{"kind":"ClusterIssuer","name":"nobody"}}}}`); err != nil {
		t.Fatal(err)
	}
	s.Until(time.Minute, "the Mesh says that the issuer does not answer", func(ctx context.Context) error {
		_, mesh, err := theRoots(ctx, s)
		if err == nil && !strings.Contains(fmt.Sprint(mesh.Object["status"]), "nobody") {
			err = fmt.Errorf("status %v", mesh.Object["status"])
		}
		return err
	})
	c.Hold(900)
	c.Step("taken back")
	if err := restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := steady(t, s, 3*time.Minute)
	c.Hold(300)
	results := c.Stop()
	t.Logf("300 requests per second from pod to pod; roots before %s, after %s\n%s", before, after, load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
	}
	if revision1 := strings.HasSuffix(before.issuer, "-1"); revision1 && !slices.Equal(before.trusted, after.trusted) {
		t.Errorf("the root changed: before %s, after %s", before, after)
	}
}

// ownAuthority has the mesh's certificates come from Weft's own authority.
func ownAuthority(ctx context.Context, s *stage.Scene, mesh string) error {
	_, err := s.Kubectl(ctx, "patch", "mesh", mesh, "--type=merge", "-p", `{"spec":{"identity":{"issuerRef":null}}}`)
	return err
}

// TestAnotherIssuer has the mesh's certificates come from a user's own authority, by a ClusterIssuer, and
// back again, while requests pass. None fails, and nothing is restarted.
func TestAnotherIssuer(t *testing.T) {
	s := stage.NewMeshed(t, "issuer")
	meshShop(t, s, "polite", "drain", "", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("polite")
	c := s.Caller("caller")
	c.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80"}, nil)
	before, alive := steady(t, s, 2*time.Minute), lives(s, "polite", "caller")
	_, mesh, err := theRoots(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	issuer := manifest(t, "mesh/own-issuer.yaml", "$NAME", s.Namespace)
	s.Apply(issuer)
	t.Cleanup(func() {
		if err := errors.Join(ownAuthority(context.Background(), s, mesh.GetName()), s.Stage.Remove(context.Background(), "", issuer)); err != nil {
			t.Error(err)
		}
	})
	c.Start(load.Target{Address: "polite:80", Host: "polite"}, 300)
	c.Step("an issuer of one's own")
	if _, err := s.Kubectl(t.Context(), "patch", "mesh", mesh.GetName(), "--type=merge", "-p",
		fmt.Sprintf(`{"spec":{"identity":{"issuerRef":{"kind":"ClusterIssuer","name":%q}}}}`, s.Namespace)); err != nil {
		t.Fatal(err)
	}
	own := changed(t, s, before)
	if own.issuer != "ClusterIssuer/"+s.Namespace {
		t.Errorf("certificates come from %s", own.issuer)
	}
	c.Hold(600)
	c.Step("Weft's own again")
	if err := ownAuthority(t.Context(), s, mesh.GetName()); err != nil {
		t.Fatal(err)
	}
	changed(t, s, own)
	c.Hold(600)
	results := c.Stop()
	t.Logf("300 requests per second from pod to pod\n%s", load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
	}
	if now := lives(s, "polite", "caller"); now != alive {
		t.Errorf("the pods were %s, and are %s", alive, now)
	}
}

// changed waits until other roots than before are trusted, and nothing changes any more.
func changed(t *testing.T, s *stage.Scene, before roots) (now roots) {
	t.Helper()
	s.Until(3*time.Minute, "the roots are others", func(ctx context.Context) (err error) {
		now, _, err = theRoots(ctx, s)
		if err == nil && (now.phase != "Steady" || slices.Equal(now.trusted, before.trusted)) {
			err = fmt.Errorf("%s", now)
		}
		return err
	})
	return now
}
