package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// keyStage is an API server, a provider, and a clock, by which KeySets is told of policies one by one.
type keyStage struct {
	*testing.T
	*KeySets
	answer  string // of the provider; "": it is away
	fetched int
	now     time.Time
}

func newKeyStage(t *testing.T) *keyStage {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	create(t, c, namespaceLabelled(v1alpha1.SystemNamespace, nil), namespaceLabelled("shop", nil))
	s := &keyStage{T: t, now: time.Unix(1_800_000_000, 0)}
	s.KeySets = &KeySets{Client: c, Live: c, Now: func() time.Time { return s.now }, Fetch: func(context.Context, string) (string, error) {
		if s.fetched++; s.answer == "" {
			return "", errors.New("it does not answer within 5s")
		}
		return s.answer, nil
	}}
	return s
}

func (s *keyStage) do(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *keyStage) policy(name, jwks string) *v1alpha1.MeshPolicy {
	s.Helper()
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	s.do(yaml.UnmarshalStrict([]byte("jwt: {providers: [{name: a, issuer: a, jwks: {"+jwks+"}}]}"), &p.Spec))
	create(s.T, s.Client, p)
	return p
}

// looks has a policy seen to, and says when it is to be looked at again.
func (s *keyStage) looks(name string) time.Duration {
	s.Helper()
	result, err := s.Reconcile(s.Context(), ctrl.Request(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: name}}))
	s.do(err)
	return result.RequeueAfter
}

// kept is what is kept of a source: the IDs of its keys, and its problem.
func (s *keyStage) kept(from jwt.Source) (ids, problem string) {
	s.Helper()
	var cm corev1.ConfigMap
	if err := s.Get(s.Context(), systemName(from.Kept()), &cm); client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	} else if err != nil {
		return "nothing", ""
	}
	for part := range strings.SplitSeq(cm.Data[room.KeptText], `"kid":"`) {
		if id, _, is := strings.Cut(part, `"`); is && id != "{" {
			ids += id
		}
	}
	if strings.Contains(fmt.Sprint(cm.Data), "secret") {
		s.Errorf("a private key is kept: %v", cm.Data)
	}
	return ids, cm.Data[room.KeptProblem]
}

func (s *keyStage) wants(from jwt.Source, ids, problem string) {
	s.Helper()
	if got, said := s.kept(from); got != ids || (problem == "") != (said == "") || !strings.Contains(said, problem) {
		s.Errorf("kept is %q, with the problem %q; want %q, %q", got, said, ids, problem)
	}
}

// TestKeySetByURL: it is fetched when it is due, kept while the provider is away or says nonsense, and gone with the
// last policy that names it.
func TestKeySetByURL(t *testing.T) {
	s, url := newKeyStage(t), jwt.Source{URL: "https://a.example/keys"}
	a, b := jwttest.NewKey(t, "a", "ES256"), jwttest.NewKey(t, "b", "EdDSA")
	one := s.policy("one", "remote: {uri: 'https://a.example/keys', refresh: 1m}")
	if next := s.looks("one"); next != keySetRetry {
		t.Errorf("a provider that was never there is asked again after %v", next)
	}
	s.wants(url, "", "https://a.example/keys: it does not answer within 5s")
	s.answer, s.now = jwttest.Set(a), s.now.Add(keySetRetry)
	if next := s.looks("one"); next != time.Minute {
		t.Errorf("it is fetched again after %v", next)
	}
	s.wants(url, "a", "")

	s.answer = jwttest.Set(a, b)
	two := s.policy("two", "remote: {uri: 'https://a.example/keys'}")
	before := s.fetched
	s.looks("two")
	s.looks("one")
	if s.fetched != before {
		t.Errorf("what is known is fetched %d times", s.fetched-before)
	}
	s.now = s.now.Add(time.Minute)
	s.looks("one")
	s.wants(url, "ab", "")
	for _, answer := range []string{"", "<html>", `{"keys": []}`, `{"keys": [{"kty": "oct", "k": "secret"}]}`, strings.Repeat(" ", jwt.MaxKeySet+1)} {
		s.answer, s.now = answer, s.now.Add(time.Minute)
		s.looks("one")
		if ids, problem := s.kept(url); ids != "ab" || problem == "" {
			t.Errorf("%.20q: kept is %q, with the problem %q", answer, ids, problem)
		}
	}
	s.answer, s.now = jwttest.Set(b), s.now.Add(time.Minute)
	s.looks("one")
	s.wants(url, "b", "")

	for _, p := range []client.Object{one, two} {
		s.wants(url, "b", "")
		s.do(s.Delete(t.Context(), p))
		s.looks(p.GetName())
	}
	s.wants(url, "nothing", "")
}

// TestKeySetInASecret: its public keys are kept, and nothing else of it.
func TestKeySetInASecret(t *testing.T) {
	s, from := newKeyStage(t), jwt.Source{Namespace: "shop", Secret: "keys", Key: "jwks.json"}
	s.policy("one", "secretRef: {name: keys}")
	s.looks("one")
	s.wants(from, "", "Secret shop/keys does not exist")
	a := jwttest.NewKey(t, "a", "RS256").Public()
	a["d"] = "secret"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keys"}, Data: map[string][]byte{"other": nil}}
	create(t, s.Client, secret)
	s.now = s.now.Add(keySetRetry)
	s.looks("one")
	s.wants(from, "", `has no data["jwks.json"]`)
	text, err := json.Marshal(map[string]any{"keys": []any{a, map[string]any{"kty": "oct", "k": "secret"}}})
	s.do(err)
	secret.Data["jwks.json"] = text
	s.do(s.Update(t.Context(), secret))
	s.now = s.now.Add(keySetRetry)
	s.looks("one")
	s.wants(from, "a", "")
}

// TestFetch: what a provider answers is read up to a length, and nothing of what is no key set is told on.
func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			fmt.Fprint(w, `{"keys": []}`)
		case "/large":
			fmt.Fprint(w, strings.Repeat("x", 1<<20))
		case "/elsewhere":
			http.Redirect(w, r, "/keys", http.StatusFound)
		default:
			http.Error(w, "secret", http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{"/keys": `{"keys": []}`, "/elsewhere": "it is answered 302", "/no": "it is answered 403"} {
		text, err := fetchKeySet(t.Context(), server.URL+path)
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s: %q, want %q", path, text, want)
		}
	}
	if text, err := fetchKeySet(t.Context(), server.URL+"/large"); err != nil || len(text) != jwt.MaxKeySet+1 {
		t.Errorf("of a large one %d bytes are read: %v", len(text), err)
	}
	server.Close()
	for url, want := range map[string]string{server.URL: "no connection is made", "http://nobody.invalid/": "there is no host nobody.invalid"} {
		if _, err := fetchKeySet(t.Context(), url); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}
