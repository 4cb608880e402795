package tokenreview

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/weft-mesh/weft/internal/xds"
)

// jwt is a token with that payload; nobody checks its signature here.
func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

var good = jwt(`{"exp": 2000000000, "aud": ["weft"]}`)

// accepted is what an API server says of a token that is bound to pod web-0.
func accepted() authentication.TokenReviewStatus {
	return authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{"weft"}, User: authentication.UserInfo{
		Username: "system:serviceaccount:shop:web",
		Extra:    map[string]authentication.ExtraValue{extraPod: {"web-0"}, extraPodUID: {"uid-0"}, extraNode: {"node-1"}}}}
}

// reviewing is an Authenticator over HTTP to a server that gives that answer.
func reviewing(t *testing.T, answer authentication.TokenReviewStatus) (Authenticator, *authentication.TokenReview) {
	asked := &authentication.TokenReview{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" {
			http.NotFound(w, r)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(&authentication.TokenReview{Spec: asked.Spec, Status: answer})
	}))
	t.Cleanup(s.Close)
	c, err := kubernetes.NewForConfig(&rest.Config{Host: s.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return Authenticator{Reviews: c.AuthenticationV1().TokenReviews()}, asked
}

func TestIdentity(t *testing.T) {
	a, asked := reviewing(t, accepted())
	got, err := a.Authenticate(context.Background(), good)
	want := xds.Identity{Namespace: "shop", ServiceAccount: "web", Pod: "web-0", PodUID: "uid-0", Node: "node-1", Expires: time.Unix(2000000000, 0)}
	if err != nil || got != want {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	if asked.Spec.Token != good || len(asked.Spec.Audiences) != 1 || asked.Spec.Audiences[0] != "weft" {
		t.Errorf("asked %+v", asked.Spec)
	}
	a, _ = reviewing(t, with(func(s *authentication.TokenReviewStatus) { delete(s.User.Extra, extraNode) }))
	if got, err := a.Authenticate(context.Background(), good); err != nil || got.Node != "" {
		t.Errorf("without a node: got %+v %v", got, err)
	}
}

func with(f func(*authentication.TokenReviewStatus)) authentication.TokenReviewStatus {
	s := accepted()
	f(&s)
	return s
}

func TestRefusals(t *testing.T) {
	type status = authentication.TokenReviewStatus
	for _, c := range []struct {
		name, token, want string
		answer            status
	}{
		{"not accepted", good, "does not accept", with(func(s *status) { s.Authenticated = false })},
		{"in error", good, "does not accept", with(func(s *status) { s.Error = "boom" })},
		{"other audience", good, `not for the audience "weft"`, with(func(s *status) { s.Audiences = []string{"api"} })},
		{"no audience", good, `not for the audience "weft"`, with(func(s *status) { s.Audiences = nil })},
		{"a person's", good, "not a ServiceAccount's", with(func(s *status) { s.User.Username = "jane" })},
		{"a node's", good, "not a ServiceAccount's", with(func(s *status) { s.User.Username = "system:node:node-1" })},
		{"a name with more parts", good, "not a ServiceAccount's", with(func(s *status) { s.User.Username += ":x" })},
		{"no name", good, "not a ServiceAccount's", with(func(s *status) { s.User.Username = "system:serviceaccount:shop:" })},
		{"no pod", good, "not bound to a pod", with(func(s *status) { delete(s.User.Extra, extraPod) })},
		{"two pods", good, "not bound to a pod", with(func(s *status) { s.User.Extra[extraPod] = []string{"a", "b"} })},
		{"no pod UID", good, "not bound to a pod", with(func(s *status) { delete(s.User.Extra, extraPodUID) })},
		{"no expiry", jwt(`{}`), "no expiry", accepted()},
		{"an expiry out of range", jwt(`{"exp": 1e300}`), "no expiry", accepted()},
		{"an expiry of text", jwt(`{"exp": "soon"}`), "no expiry", accepted()},
		{"claims that are not base64url", "a.!.c", "not base64url", accepted()},
		{"no JWT", "opaque-token", "not a JWT", accepted()},
	} {
		a, _ := reviewing(t, c.answer)
		got, err := a.Authenticate(context.Background(), c.token)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.token) {
			t.Errorf("a token that is %s: got %+v %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestNoAPIServer(t *testing.T) {
	c, err := kubernetes.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Authenticator{Reviews: c.AuthenticationV1().TokenReviews()}.Authenticate(context.Background(), good)
	if err == nil || strings.Contains(err.Error(), good) {
		t.Errorf("got %v, want an error without the token", err)
	}
}

func FuzzExpiry(f *testing.F) {
	for _, token := range []string{good, jwt(`{"exp": -1}`), jwt(`{"exp": 1e999}`), "..", "a.b.c"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if at, err := expiry(token); err == nil && at.Unix() <= 0 {
			t.Errorf("expiry of %q is %v", token, at)
		}
	})
}
