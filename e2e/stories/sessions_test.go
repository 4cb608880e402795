package stories

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/stage"
)

// TestSessions: a client that sends its cookie back stays with its pod beside other clients, and over a change of
// weights that leaves its Service nothing. When its pod goes, no request fails: another pod answers, and has the
// session from then on.
func TestSessions(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "sessions")
	backend(t, s, "blue", "drain", "", 2)
	backend(t, s, "green", "drain", "", 1)
	s.Apply(manifest(t, "sessions.yaml", "$BLUE", "50", "$GREEN", "50"))
	s.Rollout("blue", "green")
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api", 200)

	session, mine := begin(t, s, gateway, "blue")
	s.Step("the session is with pod %s", mine)
	others := map[string]int{}
	for range 60 {
		stays(t, gateway, session, mine)
		others[ask(t, gateway, nil).Version]++
	}
	if others["blue"] == 0 || others["green"] == 0 {
		t.Errorf("other clients are with %v", others)
	}

	s.Apply(manifest(t, "sessions.yaml", "$BLUE", "0", "$GREEN", "100"))
	s.Until(time.Minute, "blue gets nothing new", func(ctx context.Context) error {
		for range 20 {
			if a := ask(t, gateway, nil); a.Version != "green" {
				return errors.New("it got a request")
			}
			stays(t, gateway, session, mine)
		}
		return nil
	})
	for range 60 {
		stays(t, gateway, session, mine)
	}

	s.Step("pod %s goes", mine)
	gone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: mine}}
	if err := s.Delete(t.Context(), gone, client.GracePeriodSeconds(20)); err != nil {
		t.Fatal(err)
	}
	s.Until(time.Minute, "the session is another pod's", func(ctx context.Context) error {
		a := ask(t, gateway, session)
		if next := cookies(a); a.Pod != mine && next != nil {
			session, mine = next, a.Pod
			return nil
		}
		return fmt.Errorf("%s answers, and says %v", a.Pod, a.Header["Set-Cookie"])
	})
	s.Step("the session is with pod %s now", mine)
	for range 30 {
		stays(t, gateway, session, mine)
	}
}

// ask sends a request that must be answered.
func ask(t *testing.T, gateway *stage.Gateway, session http.Header) stage.Answer {
	t.Helper()
	a, err := gateway.GetWith(t.Context(), "shop.test", "/api", session)
	if err != nil || a.Status != 200 {
		t.Fatalf("a request is answered %d: %v", a.Status, err)
	}
	return a
}

// cookies are what the client says from now on; nil: it was told nothing.
func cookies(a stage.Answer) http.Header {
	var all []string
	for _, line := range a.Header["Set-Cookie"] {
		cookie, _, _ := strings.Cut(line, ";")
		all = append(all, cookie)
	}
	if all == nil {
		return nil
	}
	return http.Header{"Cookie": {strings.Join(all, "; ")}}
}

// begin begins sessions until one is with a pod of the Service wanted.
func begin(t *testing.T, s *stage.Scene, gateway *stage.Gateway, wanted string) (session http.Header, pod string) {
	t.Helper()
	s.Until(time.Minute, "a session of "+wanted, func(context.Context) error {
		a := ask(t, gateway, nil)
		if session, pod = cookies(a), a.Pod; a.Version != wanted || session == nil {
			return fmt.Errorf("%s answers, and says %v", a.Version, a.Header["Set-Cookie"])
		}
		return nil
	})
	return session, pod
}

func stays(t *testing.T, gateway *stage.Gateway, session http.Header, pod string) {
	t.Helper()
	if a := ask(t, gateway, session); a.Pod != pod || cookies(a) != nil {
		t.Fatalf("the session of pod %s is answered by %s, which says %v", pod, a.Pod, a.Header["Set-Cookie"])
	}
}
