package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// section is a MeshPolicy about a Service, named $NAME.
func section(s *stage.Scene, name, service, says string) {
	s.Apply(policy(name, "kind: Service, name: "+service, says))
	s.Holds(name)
}

// policy is a MeshPolicy about a target or, without one, about its namespace.
func policy(name, target, says string) string {
	if target != "" {
		says = "targetRefs: [{" + target + "}]\n  " + says
	}
	return "apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: " + name + "}\nspec:\n  " + says + "\n"
}

// unfelt applies a section while its Service is called, and wants no call to fail because of that.
func unfelt(t *testing.T, s *stage.Scene, from *stage.Caller, name, service, says string) {
	t.Helper()
	made := make(chan []call.Outcome, 1)
	go func() {
		defer close(made)
		made <- from.Calls(400, call.Request{Protocol: call.HTTP, Address: at(service, 80)})
	}()
	section(s, name, service, says)
	if n := failedOf(<-made); n > 0 {
		t.Errorf("%d of 400 calls failed as policy %s came", n, name)
	}
}

func failedOf(all []call.Outcome) (n int) {
	for _, o := range all {
		if o.Err() != nil {
			n++
		}
	}
	return n
}

// TestMeshRetries: of an app that fails every third time callers see nothing, in whatever protocol they call; one that
// always fails is asked no more often than the policies say.
func TestMeshRetries(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "retries")
	echo(t, s, "app", "undeclared", "{}")
	caller(t, s, "caller", false)
	s.Rollout("app")
	from := s.Caller("caller")
	from.Answered(call.Request{Protocol: call.HTTP, Address: at("app", 80)}, nil)
	third := func(w way) int {
		return failedOf(from.Calls(60, call.Request{Protocol: w.protocol, Address: at("app", w.service), Path: "/third"}))
	}
	for _, w := range waysOf(call.HTTP, call.H2C) {
		if n := third(w); n != 20 {
			t.Errorf("%s: without a policy %d of 60 calls fail; want 20", w.protocol, n)
		}
	}
	unfelt(t, s, from, "retries", "app", "retry: {attempts: 2, backoff: {base: 5ms}}")
	for _, w := range waysOf(call.HTTP, call.H2C) {
		s.Until(20*time.Second, fmt.Sprintf("none of 60 calls by %s fails", w.protocol), func(context.Context) error {
			if n := third(w); n > 0 {
				return fmt.Errorf("%d failed", n)
			}
			return nil
		})
	}
	const calls = 4
	asked := func() int {
		before := failures(t, from)
		if n := failedOf(from.Calls(calls, call.Request{Protocol: call.HTTP, Address: at("app", 80), Path: "/failing"})); n != calls {
			t.Errorf("of %d calls to an app that fails %d failed", calls, n)
		}
		return failures(t, from) - before
	}
	if n := asked(); n != 3*calls {
		t.Errorf("for %d calls with two retries the app was asked %d times; want %d", calls, n, 3*calls)
	}
	unfelt(t, s, from, "no-budget", "app", "circuitBreaker: {maxRetries: 0}")
	s.Until(20*time.Second, "where no retries may be under way none are made", func(context.Context) error {
		if n := asked(); n != calls {
			return fmt.Errorf("for %d calls the app was asked %d times", calls, n)
		}
		return nil
	})
}

// TestMeshTimeouts: what takes too long is ended in its time.
func TestMeshTimeouts(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "timeouts")
	echo(t, s, "app", "declared", "{}")
	caller(t, s, "caller", false)
	s.Rollout("app")
	from := s.Caller("caller")
	from.Answered(call.Request{Protocol: call.HTTP, Address: at("app", 80)}, nil)
	for _, c := range []struct {
		says  string
		bound time.Duration
	}{{"timeout: {request: 1s}", time.Second}, {"timeout: {idle: 2s}", 2 * time.Second}, {"timeout: {stream: 500ms}", 500 * time.Millisecond}} {
		unfelt(t, s, from, "bounds", "app", c.says)
		s.Until(30*time.Second, c.says, func(context.Context) error {
			o := from.Call(call.Request{Protocol: call.HTTP, Address: at("app", 80), Path: "/wait"})
			if o.Status != 504 || o.Took < c.bound-50*time.Millisecond || o.Took > c.bound+time.Second {
				return fmt.Errorf("status %d after %s", o.Status, o.Took)
			}
			return nil
		})
	}
}

// TestMeshHedging: one of two pods is slow. With hedging no caller feels it.
func TestMeshHedging(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "hedging")
	s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", "app", "$REPLICAS", "2", "$PORTS", declarations["declared"], "$ANNOTATIONS", "{}"))
	caller(t, s, "caller", false)
	s.Rollout("app")
	from := s.Caller("caller")
	from.Answered(call.Request{Protocol: call.HTTP, Address: at("app", 80)}, nil)
	lame := call.Request{Protocol: call.HTTP, Address: at("app", 80), Path: "/lame/" + s.Pods("app")[0].Name}
	s.Until(30*time.Second, "without a policy a call is slow", func(context.Context) error {
		if o := from.Call(lame); o.Err() != nil || o.Took < 2*time.Second {
			return fmt.Errorf("it took %s: %v", o.Took, o.Err())
		}
		return nil
	})
	unfelt(t, s, from, "hedged", "app", "hedging: {delay: 150ms}")
	s.Until(30*time.Second, "with hedging none of 40 is", func(context.Context) error {
		worst := time.Duration(0)
		for _, o := range from.Calls(40, lame) {
			if o.Err() != nil {
				return o.Err()
			}
			worst = max(worst, o.Took)
		}
		if worst > time.Second {
			return fmt.Errorf("the slowest took %s", worst)
		}
		s.Step("one of two pods takes 2 s; hedged after 150 ms, the slowest of 40 calls took %s", worst)
		return nil
	})
}
