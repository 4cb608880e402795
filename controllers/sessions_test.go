package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// sealed is what the sessions of a policy's login are sealed by; "" if nothing is.
func (s *keyStage) sealed(p *v1alpha1.MeshPolicy) string {
	s.Helper()
	var secret corev1.Secret
	if err := s.Get(s.Context(), systemName(sealOf(p)), &secret); client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return string(secret.Data[oidc.SessionKey])
}

// TestLoginOfPolicy: what a provider says of its endpoints is kept while it is away, and what seals sessions stays as it is
// until the policy goes, or means another provider.
func TestLoginOfPolicy(t *testing.T) {
	s := newKeyStage(t)
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "people"}}
	s.do(yaml.UnmarshalStrict([]byte("{targetRefs: [{kind: Gateway, name: a}], oidc: {provider: {issuer: 'https://a.example'}, clientID: a, clientSecretRef: {name: a}}}"), &p.Spec))
	create(s.T, s.Client, p)
	if next := s.looks("people"); next != keySetRetry {
		t.Errorf("it is looked at again after %v", next)
	}
	kept := func() (text, problem string) {
		var cm corev1.ConfigMap
		s.do(s.Get(s.Context(), systemName(oidc.Source("https://a.example").Kept()), &cm))
		return cm.Data[room.KeptText], cm.Data[room.KeptProblem]
	}
	if text, problem := kept(); text != "" || !strings.HasPrefix(problem, "https://a.example/.well-known/openid-configuration: it does not answer") {
		t.Errorf("kept is %q, %q", text, problem)
	}
	seal := s.sealed(p)
	if len(seal) != oidc.SessionBytes {
		t.Errorf("sessions are sealed by %d bytes", len(seal))
	}
	s.answer = `{"issuer": "https://a.example", "authorization_endpoint": "https://a.example/auth", "token_endpoint": "https://a.example/token", "secret": "x"}`
	s.now = s.now.Add(keySetRetry)
	s.looks("people")
	const want = `{"authorization_endpoint":"https://a.example/auth","token_endpoint":"https://a.example/token"}`
	for _, answer := range []string{s.answer, "", "[]", strings.Replace(s.answer, "a.example", "b.example", 1)} {
		s.answer, s.now = answer, s.now.Add(10*time.Minute)
		s.looks("people")
		if text, problem := kept(); text != want || (problem == "") != strings.HasPrefix(answer, `{"issuer": "https://a.`) {
			t.Errorf("%.30q: kept is %q, %q", answer, text, problem)
		}
	}
	if now := s.sealed(p); now != seal {
		t.Error("what seals sessions changed")
	}

	before := p.DeepCopy()
	p.Spec.OIDC.ClientID = "b"
	s.do(s.Update(s.Context(), p))
	s.looks("people")
	if now := s.sealed(p); now == seal || len(now) != oidc.SessionBytes || s.sealed(before) != "" {
		t.Error("sessions of another client are sealed by the same")
	}
	s.do(s.Delete(s.Context(), p))
	s.looks("people")
	if s.sealed(p) != "" {
		t.Error("what seals nobody's sessions is still there")
	}
	var cm corev1.ConfigMap
	if err := s.Get(s.Context(), systemName(oidc.Source("https://a.example").Kept()), &cm); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("what nobody names is kept: %v", err)
	}
}

// TestOfLoginSecrets: what is kept of Secrets is of the types that Weft reads.
func TestOfLoginSecrets(t *testing.T) {
	for kind, want := range map[corev1.SecretType]bool{
		corev1.SecretTypeTLS: true, v1alpha1.SecretTypeOIDCClient: true, v1alpha1.SecretTypeOIDCSession: true, corev1.SecretTypeOpaque: false, "example.com/a": false,
	} {
		s := &corev1.Secret{Type: kind, Data: map[string][]byte{"a": []byte("b")}}
		if _, err := trimSecret(s); err != nil || (s.Data != nil) != want {
			t.Errorf("%s: %v, %v", kind, s.Data, err)
		}
	}
}
