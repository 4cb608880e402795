package journal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
)

func decision(id string, v authz.Verdict) authz.Record {
	return authz.Record{ID: id, Time: time.Unix(0, 0).UTC(), Verdict: v, Law: &authz.Law{Levels: []authz.Level{{Name: "port", Policies: []authz.Policy{{Key: "shop/p", Digest: "d"}}}}}}
}

func texts(digest string) *v1alpha1.Authorization {
	return &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "of " + digest}}}
}

// wrote has a journal take decisions, and end.
func wrote(t *testing.T, o Options, all ...authz.Record) *Journal {
	t.Helper()
	o.Text = texts
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		j.Take(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return j
}

func entries(t *testing.T, file string) (out []authz.Entry) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := authz.Each(bytes.NewReader(text), func(_ int, line []byte) error {
		e, _, _, err := authz.ParseLine(line)
		out = append(out, e)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func verified(t *testing.T, key ed25519.PublicKey, files ...string) authz.Verified {
	t.Helper()
	v := authz.Verifier{Key: key}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := authz.Each(bytes.NewReader(text), func(_ int, line []byte) error { return v.Take(line) }); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return v.Verified
}

// TestJournal: what a policy says comes once, before the first decision by it.
func TestJournal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	wrote(t, Options{File: file, Percent: 100}, decision("a", authz.Denied), decision("b", authz.Allowed))
	got := entries(t, file)
	if len(got) != 3 || got[0].Policy == nil || got[0].Policy.Digest != "d" || got[1].Decision.ID != "a" || got[2].Decision.ID != "b" {
		t.Errorf("%+v", got)
	}
	if is, err := os.Stat(file); err != nil || is.Mode().Perm() != 0o600 {
		t.Error(is, err)
	}
}

// TestSampled: of what is let in some requests are written, of what is denied, or would be, all.
func TestSampled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	var all []authz.Record
	for i := range 1_000 {
		id := fmt.Sprintf("id-%d", i)
		tried := decision(id, authz.Allowed)
		tried.Shadow = &authz.Shadow{Result: authz.Denied}
		all = append(all, decision(id, authz.Allowed), decision(id, authz.Denied), tried)
	}
	wrote(t, Options{File: file, Percent: 20}, all...)
	counts := map[string]int{}
	for _, e := range entries(t, file) {
		if e.Decision != nil {
			counts[fmt.Sprint(e.Decision.Verdict, e.Decision.Shadow != nil)]++
		}
	}
	if let := counts["Allowedfalse"]; let < 100 || let > 300 || counts["Deniedfalse"] != 1_000 || counts["Allowedtrue"] != 1_000 {
		t.Error(counts)
	}
}

// TestFull: what finds no room waits for nobody, and the journal says how much it is.
func TestFull(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	all := slices.Repeat([]authz.Record{decision("a", authz.Denied)}, queued+10)
	j := wrote(t, Options{File: file, Percent: 100, Chain: true}, all...)
	if got := entries(t, file); j.Dropped() != 10 || got[0].Dropped != 10 || len(got) != queued+2 {
		t.Errorf("%d dropped, and %+v first of %d", j.Dropped(), got[0], len(got))
	}
	if v := verified(t, nil, file); v.Dropped != 10 {
		t.Errorf("%+v", v)
	}
}

// TestChained: a chain goes on at a restart, after a line that was half written, and in the next file. What is not
// chained is not continued.
func TestChained(t *testing.T) {
	t.Parallel()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "log")
	o := Options{File: file, Percent: 100, Chain: true, Key: key}
	wrote(t, o, decision("a", authz.Denied))
	half, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.WriteString(`{"seq":3,"bef`); err != nil {
		t.Fatal(err)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	o.MaxBytes = 1
	wrote(t, o, decision("b", authz.Denied)) // puts the first aside
	if v := verified(t, public, file+".1", file); v.First != 1 || v.Last != 4 || !v.Signed {
		t.Errorf("%+v", v)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wrote(t, o, decision("c", authz.Denied)) // after what was put aside
	if v := verified(t, public, file+".1", file); v.Last != 4 {
		t.Errorf("%+v", v)
	}
	for range 2 * kept {
		wrote(t, o, decision("d", authz.Denied))
	}
	if all, err := filepath.Glob(file + "*"); err != nil || len(all) != kept+1 {
		t.Error(all, err)
	}
	if err := os.WriteFile(file, []byte("{\"dropped\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
}

// TestKeys: keys are those that openssl writes, and of no other kind.
func TestKeys(t *testing.T) {
	t.Parallel()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if got, err := PrivateKey(text); err != nil || !got.Equal(key) {
		t.Error(err)
	}
	if got, err := PublicKey(text); err != nil || !got.Equal(public) {
		t.Error(err)
	}
	der, err = x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := PublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err != nil || !got.Equal(public) {
		t.Error(err)
	}
	for _, bad := range []string{"", "hello", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n"} {
		_, one := PrivateKey([]byte(bad))
		_, other := PublicKey([]byte(bad))
		if one == nil || other == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}
