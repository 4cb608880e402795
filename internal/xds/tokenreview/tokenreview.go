// Package tokenreview authenticates proxies by the ServiceAccount tokens that the
// kubelet projects into their pods.
package tokenreview

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/weft-mesh/weft/internal/xds"
)

// Audience is the one that a proxy's token must be meant for.
const Audience = "weft"

// What the API server says of a token that is bound to a pod
// (KEP-1205 and KEP-4193).
const (
	extraPod    = "authentication.kubernetes.io/pod-name"
	extraPodUID = "authentication.kubernetes.io/pod-uid"
	extraNode   = "authentication.kubernetes.io/node-name"
)

// Authenticator asks the API server about each token. It remembers nothing, so a token
// whose pod is gone is refused from the next stream on.
type Authenticator struct {
	Reviews client.TokenReviewInterface
}

// Authenticate returns the pod and ServiceAccount that a token is bound to.
func (a Authenticator) Authenticate(ctx context.Context, token string) (xds.Identity, error) {
	review := &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	got, err := a.Reviews.Create(ctx, review, meta.CreateOptions{})
	if err != nil {
		return xds.Identity{}, fmt.Errorf("review the token: %w", err)
	}
	who, err := identity(got.Status)
	if err != nil {
		return xds.Identity{}, err
	}
	who.Expires, err = expiry(token)
	return who, err
}

func identity(s authentication.TokenReviewStatus) (xds.Identity, error) {
	if !s.Authenticated || s.Error != "" {
		return xds.Identity{}, errors.New("the API server does not accept the token")
	}
	if !slices.Contains(s.Audiences, Audience) {
		return xds.Identity{}, fmt.Errorf("the token is not for the audience %q", Audience)
	}
	parts := strings.Split(s.User.Username, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" || parts[2] == "" || parts[3] == "" {
		return xds.Identity{}, errors.New("the token is not a ServiceAccount's")
	}
	who := xds.Identity{Namespace: parts[2], ServiceAccount: parts[3],
		Pod: only(s.User.Extra[extraPod]), PodUID: only(s.User.Extra[extraPodUID]), Node: only(s.User.Extra[extraNode])}
	if who.Pod == "" || who.PodUID == "" {
		return xds.Identity{}, errors.New("the token is not bound to a pod; project it into the pod as a volume")
	}
	return who, nil
}

func only(v authentication.ExtraValue) string {
	if len(v) != 1 {
		return ""
	}
	return v[0]
}

// expiry reads the exp claim. It proves nothing by itself: call it for a token that the
// API server accepted.
func expiry(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("the token is not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, errors.New("the token's claims are not base64url")
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if err := json.Unmarshal(body, &claims); err != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}, errors.New("the token has no expiry")
	}
	return time.Unix(int64(claims.Expires), 0), nil
}
