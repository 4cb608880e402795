package oidc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// What proxies have for a policy's login beside the filter, by its name:
//
//	login/<namespace>/<policy>           the Cluster of the provider's token endpoint
//	login/<namespace>/<policy>/client    the client's secret
//	login/<namespace>/<policy>/session   what sessions are sealed by
const (
	loginPrefix   = "login/"
	clientSuffix  = "/client"
	sessionSuffix = "/session"
)

// Cluster is the name of the Cluster of a policy's token endpoint.
func Cluster(policy string) string { return loginPrefix + policy }

// Secrets are the names of what a policy's login has by SDS.
func Secrets(policy string) []string {
	return []string{clientSecret(policy), sessionSecret(policy)}
}

func clientSecret(policy string) string  { return loginPrefix + policy + clientSuffix }
func sessionSecret(policy string) string { return loginPrefix + policy + sessionSuffix }

// IsLogin says whether a Cluster or a secret is one of a login, by its name.
func IsLogin(name string) bool { return strings.HasPrefix(name, loginPrefix) }

// PolicyOf is the policy, of that name a Cluster or a secret is; session tells the two secrets apart.
func PolicyOf(name string) (policy string, session bool) {
	parts := strings.Split(strings.TrimPrefix(name, loginPrefix), "/")
	if len(parts) < 2 {
		return "", false
	}
	return parts[0] + "/" + parts[1], len(parts) == 3 && "/"+parts[2] == sessionSuffix
}

// SessionKey is under which a Secret has what sessions are sealed by, and SessionBytes how many there are of it.
const (
	SessionKey   = "session"
	SessionBytes = 64
)

// Kept is the name of the Secret of weft-system that the operator makes for the sessions of a policy, by its key. It is
// another one where people log in elsewhere, or as another client: who logged in before is not known any more.
//
// It is no hash of the client's secret, which the provider knows, and which who has a cookie could try to guess.
func Kept(policy string, s *v1alpha1.OIDC) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{policy, s.Provider.Issuer, s.Provider.TokenEndpoint, s.ClientID}, "\n")))
	return "weft-oidc-" + hex.EncodeToString(sum[:8])
}

// Token is how a proxy reaches a token endpoint.
type Token struct {
	Host string
	Port uint32
	TLS  bool
}

// ParseToken is that of a URL; false if it has none.
func ParseToken(endpoint string) (t Token, ok bool) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return t, false
	}
	t = Token{Host: strings.ToLower(u.Hostname()), TLS: u.Scheme == "https", Port: 80}
	if t.TLS {
		t.Port = 443
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return t, false
		}
		t.Port = uint32(port)
	}
	return t, true
}

// Named says whether the host is a name rather than an address.
func (t Token) Named() bool { return net.ParseIP(t.Host) == nil }

// authoritiesKey is that under which a ConfigMap has authorities.
const authoritiesKey = "ca.crt"

// refers are the endpoints, the two secrets, and the ConfigMaps with authorities, in that order.
func refers(s *v1alpha1.OIDC) (out []room.Reference) {
	const instead = "all requests that it is about are answered 503"
	endpoints := room.Reference{Field: ".provider.issuer", Instead: instead}
	if issuer := s.Provider.Issuer; issuer != "" {
		endpoints.Kept, endpoints.OfProvider = func(string, string) string { return Source(issuer).Kept() }, true
	} else {
		p := s.Provider
		own := Endpoints{Authorization: p.AuthorizationEndpoint, Token: p.TokenEndpoint, EndSession: p.EndSessionEndpoint}
		endpoints.Field, endpoints.Text, endpoints.Check = ".provider", own.text(), func(string) string { return own.problem() }
	}
	out = append(out, endpoints,
		room.Reference{Field: ".clientSecretRef", Instead: instead, Sealed: &room.Sealed{
			Name: s.ClientSecretRef.Name, Key: s.ClientSecretRef.Key, Type: v1alpha1.SecretTypeOIDCClient, Check: checkClient,
		}},
		room.Reference{Field: ".clientSecretRef", Instead: instead, Sealed: &room.Sealed{
			Own: func(policy string) string { return Kept(policy, s) }, Key: SessionKey, Type: v1alpha1.SecretTypeOIDCSession, Check: checkSession,
		}})
	for i, ref := range s.Provider.CACertificateRefs {
		out = append(out, room.Reference{
			Field: fmt.Sprintf(".provider.caCertificateRefs[%d]", i), Instead: instead, ConfigMap: ref.Name, Key: authoritiesKey, Check: checkAuthorities,
		})
	}
	return out
}

func checkClient(secret []byte) string {
	if len(secret) == 0 || strings.TrimSpace(string(secret)) != string(secret) {
		return "must be the client's secret, without blanks or a newline around it"
	}
	return ""
}

func checkSession(secret []byte) string {
	if len(secret) != SessionBytes {
		return "is not what the operator wrote: delete the Secret, and it is made anew"
	}
	return ""
}
