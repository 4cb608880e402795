package webhooks

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
)

func annotated(issuer string) *gwv1.Gateway {
	return &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", Annotations: map[string]string{mesh.IssuerAnnotation: issuer},
	}}
}

func TestValidator(t *testing.T) {
	plain := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	for _, c := range []struct {
		name        string
		before, now *gwv1.Gateway
		refused     bool
	}{
		{"no annotation", nil, plain, false},
		{"a name", nil, annotated("letsencrypt"), false},
		{"an Issuer", nil, annotated("Issuer/letsencrypt"), false},
		{"a ClusterIssuer", nil, annotated("ClusterIssuer/letsencrypt"), false},
		{"another kind", nil, annotated("Secret/letsencrypt"), true},
		{"no name", nil, annotated("ClusterIssuer/"), true},
		{"nothing", nil, annotated(""), true},
		{"no longer good", annotated("letsencrypt"), annotated("a/b/c"), true},
		{"newly annotated", plain, annotated("a/b/c"), true},
		{"bad as before", annotated("a/b/c"), annotated("a/b/c"), false},
		{"no annotation any more", annotated("a/b/c"), plain, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if c.before == nil {
				_, err = Validator{}.ValidateCreate(t.Context(), c.now)
			} else {
				_, err = Validator{}.ValidateUpdate(t.Context(), c.before, c.now)
			}
			if (err != nil) != c.refused {
				t.Fatalf("refused: %v; want %v", err, c.refused)
			}
			if err == nil {
				return
			}
			if !apierrors.IsInvalid(err) {
				t.Errorf("%T is not Invalid", err)
			}
			for _, says := range []string{"Gateway", "shop/web", "metadata.annotations[mesh.weft.dev/issuer]", "ClusterIssuer/<name>"} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
		})
	}
}

// FuzzValidator checks that what is let through is what cert-manager can look for.
func FuzzValidator(f *testing.F) {
	for _, seed := range []string{"", "ca", "Issuer/ca", "ClusterIssuer/ca.example", "/", "Issuer/", "a/b/c", "a..b", "\xff", strings.Repeat("a", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		_, err := Validator{}.ValidateCreate(t.Context(), annotated(value))
		if err != nil {
			return
		}
		kind, name, qualified := strings.Cut(value, "/")
		if !qualified {
			kind, name = "Issuer", value
		}
		if kind != "Issuer" && kind != "ClusterIssuer" {
			t.Errorf("kind %q was let through", kind)
		}
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
			t.Errorf("name %q was let through: %v", name, wrong)
		}
	})
}
