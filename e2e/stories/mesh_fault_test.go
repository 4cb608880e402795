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

const fault = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: fault}
spec:
  targetRefs: [{kind: Service, name: polite}]
  fault:
    until: "$UNTIL"
    headers: [{name: x-try, value: "yes"}]
    $SAYS
`

func faultUntil(at time.Time, says string) string {
	return strings.NewReplacer("$UNTIL", at.UTC().Format(time.RFC3339), "$SAYS", says).Replace(fault)
}

// TestFault: while a caller sends 100 requests per second, of which none may fail, faults come, change and end
// by themselves for the requests that ask for them by a header.
func TestFault(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "faults")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	caller(t, s, "other", false)
	s.Rollout("polite")
	from, other := s.Caller("caller"), s.Caller("other")
	request := call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods", Headers: map[string]string{"x-try": "yes"}}
	plain := call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}
	for _, c := range []*stage.Caller{from, other} {
		c.Answered(request, nil)
	}
	const rate = 100
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate)
	from.Step("no fault")
	from.Hold(2 * rate)

	later := time.Now().Add(time.Hour)
	from.Step("all that ask fail")
	s.Apply(faultUntil(later, "abort: {httpStatus: 418}"))
	becomes(s, from, request, 418)
	s.Holds("fault")
	if o := from.Call(plain); o.Err() != nil {
		t.Errorf("a request that does not ask: %v", o.Err())
	}
	from.Hold(rate)

	from.Step("those of one account fail")
	s.Apply(faultUntil(later, "abort: {httpStatus: 503}\n    from: [{namespace: "+s.Namespace+", serviceAccount: other}]"))
	becomes(s, other, request, 503)
	becomes(s, from, request, 200)
	from.Hold(rate)

	from.Step("half fail")
	s.Apply(faultUntil(later, "abort: {httpStatus: 503, percent: 50}"))
	s.Holds("fault")
	becomes(s, from, request, 503)
	halfFail(t, s, from, request)

	from.Step("all that ask are late, until it ends")
	endsByItself(t, s, from, request)
	from.Hold(rate)
	seen(t, s, from)
	noneFailed(t, from.Stop())
}

// endsByItself has requests be late for some seconds, and wants them to be so no longer, and no shorter.
func endsByItself(t *testing.T, s *stage.Scene, from *stage.Caller, request call.Request) {
	t.Helper()
	const late = 900 * time.Millisecond                           // Envoy's delays may be over some milliseconds early
	end := time.Now().Add(15 * time.Second).Truncate(time.Second) // as finely as it is written
	s.Apply(faultUntil(end, "delay: {duration: 1s}"))
	from.Answered(request, func(o call.Outcome) error {
		if o.Took < late {
			return fmt.Errorf("it took %v", o.Took)
		}
		return nil
	})
	s.Until(time.Until(end)+20*time.Second, "the fault ends by itself", func(context.Context) error {
		if o := from.Call(request); o.Err() != nil || o.Took >= late {
			return fmt.Errorf("it took %v: %v", o.Took, o.Err())
		}
		return nil
	})
	if early := time.Until(end); early > 0 {
		t.Errorf("it ended %v too early", early)
	}
	expired(s, "fault")
}

// becomes waits until a request is answered with a status.
func becomes(s *stage.Scene, from *stage.Caller, r call.Request, status int) {
	s.Until(time.Minute, fmt.Sprintf("requests of %s are answered %d", from.Pod.Name, status), func(context.Context) error {
		if o := from.Call(r); o.Status != status {
			return fmt.Errorf("status %d %s", o.Status, o.Failed)
		}
		return nil
	})
}

// halfFail wants about half of 100 requests to fail: fewer than 25, or more than 75, do once in millions.
func halfFail(t *testing.T, s *stage.Scene, from *stage.Caller, r call.Request) {
	t.Helper()
	failed := 0
	for _, o := range from.Calls(100, r) {
		if o.Status == 503 {
			failed++
		}
	}
	if failed < 25 || failed > 75 {
		t.Errorf("of 100 requests %d failed, want about half", failed)
	}
	s.Step("of 100 requests %d failed", failed)
}

// expired waits until a policy says that its time is over.
func expired(s *stage.Scene, name string) {
	s.Until(time.Minute, "MeshPolicy "+name+" is Expired", func(ctx context.Context) error {
		var p v1alpha1.MeshPolicy
		if err := s.Get(ctx, s.Key(name), &p); err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue && c.Reason == "Expired" {
				return nil
			}
		}
		return fmt.Errorf("conditions: %v", p.Status.Conditions)
	})
}

// seen looks for the faults in the caller's metrics and log.
func seen(t *testing.T, s *stage.Scene, from *stage.Caller) {
	t.Helper()
	metrics, log := s.Scrape(from.Pod), s.Log(from.Pod, "weft-proxy")
	for _, flag := range []string{"FI", "DI"} {
		if metrics.Sum("envoy_weft_requests_total", stage.Labels{"response_flags": flag, "destination_service_name": "polite"}) == 0 {
			t.Errorf("no request is counted with the flag %s:\n%s", flag, metrics.Of("envoy_weft_requests_total"))
		}
		logged := false
		for _, line := range stage.AccessLog(log) {
			logged = logged || line["flags"] == flag
		}
		if !logged {
			t.Errorf("no request is logged with the flag %s", flag)
		}
	}
}
