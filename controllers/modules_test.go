package controllers

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestModulesAreKept: a module is kept as it was last when it could be read, for as long as some policy names it; by an
// operator that starts later too.
func TestModulesAreKept(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	create(t, c, namespaceLabelled(v1alpha1.SystemNamespace, nil))
	ref := v1alpha1.RegoRef{Name: "law", Key: "a.rego"}
	law := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "law"}}
	m := &Modules{Client: c}
	looks := func(m *Modules, name string) {
		t.Helper()
		if _, err := m.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(want string) {
		t.Helper()
		var cm corev1.ConfigMap
		err := c.Get(t.Context(), systemName(authorization.Before("default", ref)), &cm)
		if client.IgnoreNotFound(err) != nil || cm.Data[room.KeptText] != want {
			t.Errorf("%q is kept (%v), not %q", cm.Data[room.KeptText], err, want)
		}
	}
	says := func(text string) {
		t.Helper()
		law.Data = map[string]string{"a.rego": text}
		if err := c.Update(t.Context(), law); err != nil {
			t.Fatal(err)
		}
	}
	one, two := policyNamed(t, "one", "authorization: {rego: {configMapRef: {name: law, key: a.rego}}}"), policyNamed(t, "two", "authorization: {rego: {configMapRef: {name: law, key: a.rego}}}")
	create(t, c, one, two)
	looks(m, "one")
	kept("")
	const good, better = "package weft.v1\nallow if true", "package weft.v1\nallow if false"
	create(t, c, law)
	says("package weft.v1\nallow if")
	looks(m, "one")
	kept("")
	says(good)
	looks(m, "one")
	kept(good)
	says("package b")
	looks(m, "one")
	later := &Modules{Client: c}
	looks(later, "two")
	kept(good)
	says(better)
	looks(later, "one")
	kept(better)
	if err := c.Delete(t.Context(), law); err != nil {
		t.Fatal(err)
	}
	looks(later, "one")
	kept(better)

	if got := m.namedBy(t.Context(), &corev1.ConfigMap{ObjectMeta: law.ObjectMeta, Data: map[string]string{"a.rego": ""}}); len(got) != 2 || got[0] != (reconcile.Request{NamespacedName: client.ObjectKeyFromObject(one)}) {
		t.Errorf("a change of the module is one to %v", got)
	}
	for _, p := range []client.Object{one, two} {
		kept(better)
		if err := c.Delete(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		looks(later, p.GetName())
	}
	kept("")
}

// TestModulesAreFetched: what is elsewhere is kept once it is there and can be read; until then, what was there before, and
// why.
func TestModulesAreFetched(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	create(t, c, namespaceLabelled(v1alpha1.SystemNamespace, nil))
	const good, better, bad = "package weft.v1\nallow if true", "package weft.v1\nallow if false", "package b"
	answers := map[string]any{"good": errors.New("cannot be fetched: its server answers 503"), "better": better, "bad": bad}
	asked := 0
	m := &Modules{Client: c, Get: func(_ context.Context, url, _ string, most int64) (string, error) {
		asked++
		if most != opa.MaxModule {
			t.Errorf("%d bytes", most)
		}
		switch a := answers[path.Base(url)].(type) {
		case error:
			return "", a
		case string:
			return a, nil
		}
		return "", download.Mismatch{}
	}}
	looks := func(fails bool) {
		t.Helper()
		if _, err := m.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: "one"}}); (err != nil) != fails {
			t.Fatal(err)
		}
	}
	p := policyNamed(t, "one", "authorization: {rego: {remote: {url: 'http://a/good', sha256: "+strings.Repeat("a", 64)+"}}}")
	create(t, c, p)
	wants := func(what, digest string) {
		t.Helper()
		p.Spec.Authorization.Rego.Remote = &v1alpha1.RemoteModule{URL: "http://a/" + what, SHA256: strings.Repeat(digest, 64)}
		if err := c.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(text, problem, finally string) {
		t.Helper()
		var cm corev1.ConfigMap
		err := c.Get(t.Context(), systemName(authorization.Fetched("default", "one")), &cm)
		if client.IgnoreNotFound(err) != nil || cm.Data[room.KeptText] != text || !strings.HasPrefix(cm.Data[room.KeptProblem], problem) || problem == "" && cm.Data[room.KeptProblem] != "" || cm.Data[room.KeptBad] != finally {
			t.Errorf("%v is kept (%v), not %q, %q", cm.Data, err, text, problem)
		}
	}
	looks(true)
	kept("", "cannot be fetched", "")
	answers["good"] = good
	looks(false)
	kept(good, "", "")
	looks(false)
	if asked != 2 {
		t.Errorf("it was fetched %d times", asked)
	}
	wants("bad", "b")
	looks(false)
	kept(good, "has a mistake in line 1", "true")
	wants("none", "c")
	looks(true)
	kept(good, "", "true")
	wants("better", "d")
	looks(false)
	kept(better, "", "")
	if err := c.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	looks(false)
	kept("", "", "")
}
