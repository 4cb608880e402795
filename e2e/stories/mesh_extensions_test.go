package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

const extensions = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: more}
spec:
  targetRefs: [{kind: Service, name: polite}, {kind: Service, name: shop}]
  extensions: [$SAYS]
`

const scripts = `
apiVersion: v1
kind: ConfigMap
metadata: {name: scripts}
data:
  edition.lua: |
    function envoy_on_request(handle)
      handle:headers():replace("x-edition", "$EDITION")
      if handle:headers():get("x-fails") then nothing.there() end
    end
  wrong.lua: |
    function envoy_on_request(handle)
      if handle than return end
    end
`

const (
	editionScript = "{name: edition, lua: {configMapRef: {name: scripts, key: edition.lua}}}"
	wrongScript   = "{name: wrong, failOpen: true, lua: {configMapRef: {name: scripts, key: wrong.lua}}}"
	askedServer   = "{name: asked, extProc: {backendRef: {name: proc, port: 90}, messageTimeout: 5s}}"
)

func extended(says ...string) string {
	return strings.Replace(extensions, "$SAYS", strings.Join(says, ", "), 1)
}

// TestExtensions: while a caller sends 100 requests per second, of which none may fail, scripts and a server of
// ext_proc come, change and go for what it calls. A script that is wrong is told of, and harms nothing; one that
// fails fails the request that has it fail.
func TestExtensions(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "extensions")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	for _, name := range []string{"shop", "proc"} {
		echo(t, s, name, "declared", "{}")
	}
	s.Rollout("polite", "shop", "proc")
	from := s.Caller("caller")
	request := call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/goods"}
	from.Answered(request, nil)
	from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}, nil)
	const rate = 100
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate)
	from.Step("no extension")
	from.Hold(2 * rate)
	hears := func(name, value string) {
		t.Helper()
		from.Answered(request, func(o call.Outcome) error {
			if got := o.Answer.Headers.Get(name); got != value {
				return fmt.Errorf("%s: %q, want %q", name, got, value)
			}
			return nil
		})
	}

	from.Step("a script")
	s.Apply(strings.Replace(scripts, "$EDITION", "first", 1))
	s.Apply(extended(editionScript))
	hears("X-Edition", "first")
	s.Holds("more")
	becomes(s, from, call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/goods", Headers: map[string]string{"x-fails": "yes"}}, 500)
	hears("X-Edition", "first")
	from.Hold(rate)

	from.Step("another script")
	s.Apply(strings.Replace(scripts, "$EDITION", "second", 1))
	hears("X-Edition", "second")
	s.Holds("more")
	from.Hold(rate)

	wrongAndAsked(t, s, from, hears)
	from.Hold(2 * rate)

	from.Step("no more")
	s.Remove(extended(askedServer))
	hears("X-Edition", "")
	hears("X-Processed", "")
	from.Hold(2 * rate)
	noneFailed(t, from.Stop())
}

// wrongAndAsked has a script beside the first one that is no Lua, and then a server in their place.
func wrongAndAsked(t *testing.T, s *stage.Scene, from *stage.Caller, hears func(name, value string)) {
	t.Helper()
	from.Step("a wrong one beside it")
	s.Apply(extended(editionScript, wrongScript))
	stalledBy(s, "more", "Invalid", `data["wrong.lua"] of ConfigMap `+s.Namespace+"/scripts is no Lua: line 2")
	hears("X-Edition", "second")
	from.Hold(100)

	from.Step("a server in its place")
	s.Apply(extended(askedServer))
	hears("X-Processed", "yes")
	hears("X-Edition", "")
	s.Holds("more")
	becomes(s, from, call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/refused"}, 403)
	if s.Scrape(from.Pod).Sum("envoy_http_ext_proc_streams_started", stage.Labels{"weft_extension": s.Namespace + "/more/asked"}) == 0 {
		t.Error("no question is counted")
	}
}

// stalledBy waits until a policy says that something is wrong, and what.
func stalledBy(s *stage.Scene, name, reason, text string) {
	s.Until(time.Minute, "MeshPolicy "+name+" is "+reason, func(ctx context.Context) error {
		var p v1alpha1.MeshPolicy
		if err := s.Get(ctx, s.Key(name), &p); err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionFalse && c.Reason == reason && strings.Contains(c.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("conditions: %v", p.Status.Conditions)
	})
}
