package jwt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Source is where a key set is that the operator fetches: a URL, or one key of a Secret.
type Source struct {
	URL                    string
	Namespace, Secret, Key string
	Refresh                time.Duration
	Issuer                 string // at the URL is no key set but its discovery document, for the section oidc
}

const (
	refreshUnset  = 5 * time.Minute
	refreshSecret = 10 * time.Second
)

// Kept is the name of the ConfigMap of weft-system that has what was fetched from it.
func (s Source) Kept() string {
	if s.Issuer != "" {
		sum := sha256.Sum256([]byte(s.URL))
		return "weft-oidc-" + hex.EncodeToString(sum[:8])
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s/%s\n%s", s.URL, s.Namespace, s.Secret, s.Key))
	return "weft-jwks-" + hex.EncodeToString(sum[:8])
}

// Sources are those of a policy's providers.
func Sources(p *v1alpha1.MeshPolicy) (out []Source) {
	if p.Spec.JWT == nil {
		return nil
	}
	for _, provider := range p.Spec.JWT.Providers {
		if s, is := sourceOf(p.Namespace, provider.JWKS); is {
			out = append(out, s)
		}
	}
	return out
}

func sourceOf(namespace string, keys v1alpha1.JWKS) (Source, bool) {
	switch {
	case keys.Remote != nil:
		refresh := room.Length(keys.Remote.Refresh)
		if refresh <= 0 {
			refresh = refreshUnset
		}
		return Source{URL: keys.Remote.URI, Refresh: refresh}, true
	case keys.SecretRef != nil:
		return Source{Namespace: namespace, Secret: keys.SecretRef.Name, Key: keys.SecretRef.Key, Refresh: refreshSecret}, true
	}
	return Source{}, false
}

// refers has one Reference for each provider.
func refers(s *v1alpha1.JWT) (out []room.Reference) {
	for i, p := range s.Providers {
		r := room.Reference{Field: fmt.Sprintf(".providers[%d].jwks", i), Check: check, Instead: "tokens of provider " + p.Name + " are refused"}
		switch {
		case p.JWKS.SecretRef != nil:
			r.Field, r.Kept = r.Field+".secretRef", kept(p.JWKS)
		case p.JWKS.Remote != nil:
			r.Field, r.Kept = r.Field+".remote", kept(p.JWKS)
		case p.JWKS.ConfigMapRef != nil:
			r.Field, r.ConfigMap, r.Key = r.Field+".configMapRef", p.JWKS.ConfigMapRef.Name, p.JWKS.ConfigMapRef.Key
		default:
			r.Field, r.Text = r.Field+".inline", p.JWKS.Inline
		}
		out = append(out, r)
	}
	return out
}

// kept is where the operator keeps a key set that it fetches for a policy of a namespace.
func kept(keys v1alpha1.JWKS) func(namespace, policy string) string {
	return func(namespace, _ string) string {
		from, _ := sourceOf(namespace, keys)
		return from.Kept()
	}
}

func check(text string) string {
	_, problem := KeySet(text)
	return problem
}

// String is how messages call it.
func (s Source) String() string {
	if s.URL != "" {
		return s.URL
	}
	return fmt.Sprintf("data[%q] of Secret %s/%s", s.Key, s.Namespace, s.Secret)
}
