package stories

import (
	"testing"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// spoken are the protocols whose words would pass as they are without a mesh.
var spoken = waysOf(call.HTTP, call.H2C, call.GRPC, call.TCP, call.Greeting)

// TestNothingPassesInPlaintext sends a secret of its own in each protocol from one pod to another and
// looks at what passes their interfaces: without the mesh each secret is seen, with it none.
func TestNothingPassesInPlaintext(t *testing.T) {
	s := stage.NewMeshed(t, "capture")
	s.OnThisMachine()
	bare := s.Outside("bare")
	for _, scene := range []*stage.Scene{s, bare} {
		echo(t, scene, "echo", "declared", "{}")
		caller(t, scene, "caller", false)
	}
	seen := talk(t, bare, bare.Caller("caller"))
	for protocol, times := range seen {
		if times == 0 {
			t.Errorf("%s without a mesh: the secret is not seen, so not to see it says nothing", protocol)
		}
	}
	c := s.Caller("caller")
	hidden := talk(t, s, c)
	for _, w := range spoken {
		t.Logf("%-9s the secret passed in plaintext %d times without the mesh, %d times with it", w.protocol, seen[w.protocol], hidden[w.protocol])
		if hidden[w.protocol] != 0 {
			t.Errorf("%s in the mesh: the secret is seen", w.protocol)
		}
	}
}

// talk sends a secret in each protocol and returns how often it passed both pods' interfaces.
func talk(t *testing.T, s *stage.Scene, c *stage.Caller) map[call.Protocol]int {
	t.Helper()
	s.Rollout("echo")
	c.Answered(call.Request{Protocol: call.HTTP, Address: "echo:80"}, nil)
	app := s.Pod("echo")
	sending, receiving := s.Capture(c.Pod, "caller"), s.Capture(app, "echo")
	secrets := map[call.Protocol]string{}
	for _, w := range spoken {
		secrets[w.protocol] = word("secret")
		out := c.Answered(call.Request{Protocol: w.protocol, Address: at("echo", w.service), Text: secrets[w.protocol]}, nil)
		if out.Answer.Said != secrets[w.protocol] || out.Answer.Protocol != w.seen {
			t.Errorf("%s: the application saw %+v", w.protocol, out.Answer)
		}
	}
	// Words that must be seen, after the secrets: so tcpdump has seen everything before them.
	stranger := s.Outside("stranger")
	caller(t, stranger, "caller", false)
	echo(t, stranger, "echo", "declared", "{}")
	stranger.Rollout("echo")
	outside := stranger.Pod("echo").Status.PodIP
	end := word("end")
	c.Answered(call.Request{Protocol: call.TCP, Address: at(outside, 9000), Text: end}, nil)
	sending.Sees(end)
	stranger.Caller("caller").Call(call.Request{Protocol: call.TCP, Address: at(app.Status.PodIP, 9000), Text: end})
	receiving.Sees(end)
	times := map[call.Protocol]int{}
	for protocol, secret := range secrets {
		times[protocol] = sending.Count(secret) + receiving.Count(secret)
	}
	return times
}

// TestAGatewaySpeaksMTLS has a Gateway reach an application that takes mTLS only.
func TestAGatewaySpeaksMTLS(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "gateway")
	s.OnThisMachine()
	echo(t, s, "echo", "declared", "{}")
	s.Apply(manifest(t, "mesh/gateway.yaml"))
	s.Rollout("echo")
	gateway := s.Gateway("front")
	request := call.Request{Protocol: call.HTTP, Address: gateway.At(80), Host: "echo.test"}
	answered(t, s, request)
	capture := s.Capture(s.Pod("echo"), "echo")
	secret := word("secret")
	request.Text = secret
	out := answered(t, s, request)
	if err := bySidecar(out); err != nil || out.Answer.Said != secret {
		t.Errorf("the application saw %+v: %v", out.Answer, err)
	}
	// A word that must be seen, after the secret: the application refuses it, but it passes.
	end := word("end")
	call.Do(t.Context(), call.Request{Protocol: call.TCP, Address: at(s.Pod("echo").Status.PodIP, 9000), Text: end})
	capture.Sees(end)
	t.Logf("the secret passed the application's interface in plaintext %d times", capture.Count(secret))
	if capture.Count(secret) != 0 {
		t.Error("between the Gateway and the application the secret is seen")
	}
}
