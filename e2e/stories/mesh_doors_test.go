package stories

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// doors are the ways by which clients outside the mesh come to an application in it.
type doors struct {
	*stage.Scene
	t       *testing.T
	door    string     // where clients connect to: the Gateway's port 443
	gateway corev1.Pod // one of the Gateway's proxies
	ours    *stage.Authority
	serials map[string]string // of the certificates, by host
}

const (
	endedHost  = "ended.test"        // its TLS ends at the Gateway
	publicHost = "shop.through.test" // at the sidecar
	ownHost    = "own.through.test"  // in the app
)

func openDoors(t *testing.T, name string) *doors {
	t.Helper()
	d := &doors{Scene: stage.NewMeshed(t, name), t: t, ours: stage.NewAuthority(t), serials: map[string]string{}}
	d.OnThisMachine()
	for _, host := range []string{endedHost, publicHost} {
		leaf := d.ours.Leaf(host)
		d.serials[host] = leaf.Serial
		d.must(d.Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: strings.ReplaceAll(host, ".", "-")}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: leaf.Certificate, corev1.TLSPrivateKeyKey: leaf.Key},
		}))
	}
	echo(t, d.Scene, "echo", "declared", "{}")
	echo(t, d.Scene, "next", "declared", "{}")
	d.Apply(manifest(t, "mesh/doors.yaml"))
	d.Rollout("echo", "next")
	d.door = d.Gateway("front").At(443)
	d.Rollout("front-weft")
	d.Holds("public")
	var pods corev1.PodList
	d.must(d.List(t.Context(), &pods, client.InNamespace(d.Namespace), client.MatchingLabels{gwv1.GatewayNameLabelKey: "front"}))
	if len(pods.Items) == 0 {
		t.Fatal("the Gateway has no pod")
	}
	d.gateway = pods.Items[0]
	return d
}

func (d *doors) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// visit gets a path.
func (d *doors) visit(ctx context.Context, host, path string, headers map[string]string) (call.Outcome, error) {
	return d.sends(ctx, http.MethodGet, host, path, headers)
}

// sends sends one request over a connection of its own to the Gateway's port 443 and returns what the
// application says of it, and the serial number of the certificate that the client was shown.
func (d *doors) sends(ctx context.Context, method, host, path string, headers map[string]string) (out call.Outcome, err error) {
	transport := &http.Transport{TLSClientConfig: d.ours.Client(host), DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", d.door)
		}}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, nil)
	if err != nil {
		return out, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return out, err
	}
	defer response.Body.Close()
	out.Status, out.Serial = response.StatusCode, response.TLS.PeerCertificates[0].SerialNumber.Text(16)
	if response.StatusCode == http.StatusOK {
		err = json.NewDecoder(response.Body).Decode(&out.Answer)
	}
	return out, err
}

// visited visits until the answer is 200.
func (d *doors) visited(host, path string, headers map[string]string) (out call.Outcome) {
	d.t.Helper()
	d.Until(time.Minute, "https://"+host+path+" is answered", func(ctx context.Context) (err error) {
		if out, err = d.visit(ctx, host, path, headers); err == nil {
			err = out.Err()
		}
		return err
	})
	return out
}

// TestTheAppChecksItsOwnCallers: Weft leaves the caller's token alone, and what the app says to it.
func TestTheAppChecksItsOwnCallers(t *testing.T) {
	stage.Parallel(t)
	d := openDoors(t, "token")
	for _, host := range []string{endedHost, publicHost} {
		token := "Bearer " + word("good") + ".e30=.~+/"
		out := d.visited(host, "/private", map[string]string{"Authorization": token})
		if got := out.Answer.Headers.Get("Authorization"); got != token {
			t.Errorf("%s: the app saw the token %q, not %q", host, got, token)
		}
		for _, bad := range []string{"", "Bearer bad"} {
			if out, err := d.visit(t.Context(), host, "/private", map[string]string{"Authorization": bad}); err != nil || out.Status != http.StatusUnauthorized {
				t.Errorf("%s: the app refuses the token %q, but the client sees %d: %v", host, bad, out.Status, err)
			}
		}
	}
}

// TestTheGatewayEndsTLS: the client sees the Gateway's certificate, and the app is called by mTLS.
func TestTheGatewayEndsTLS(t *testing.T) {
	stage.Parallel(t)
	d := openDoors(t, "ends")
	out := d.visited(endedHost, "/", nil)
	if out.Serial != d.serials[endedHost] {
		t.Errorf("the client was shown certificate %s, not %s", out.Serial, d.serials[endedHost])
	}
	d.from(out, identity(d.Scene, d.gateway.Spec.ServiceAccountName))
}

// from wants a call to have come from the application's own sidecar, which names the caller.
func (d *doors) from(out call.Outcome, caller string) {
	d.t.Helper()
	if err := bySidecar(out); err != nil {
		d.t.Error(err)
	}
	if got := out.Answer.Headers.Get("X-Forwarded-Client-Cert"); !strings.Contains(got, "URI="+caller) {
		d.t.Errorf("the sidecar says that %q called, not %s", got, caller)
	}
}

// TestTheSidecarEndsTLS: the Gateway passes a client's TLS through as it came, by SNI, to the sidecar
// that has the certificate. At the Gateway there is ciphertext, inside nothing else.
func TestTheSidecarEndsTLS(t *testing.T) {
	stage.Parallel(t)
	d := openDoors(t, "through")
	d.visited(publicHost, "/", nil)
	d.door = at(d.gateway.Status.PodIP, 443) // the proxy that is looked at
	capture := d.Capture(d.gateway, "envoy")
	secret := word("secret")
	out := d.visited(publicHost, "/", map[string]string{"Secret": secret, "X-Forwarded-Client-Cert": "URI=spiffe://forged"})
	if out.Answer.Headers.Get("Secret") != secret || out.Serial != d.serials[publicHost] {
		t.Errorf("the app saw %v, and the client certificate %s, not %s", out.Answer.Headers, out.Serial, d.serials[publicHost])
	}
	if got := out.Answer.Headers.Get("X-Forwarded-Client-Cert"); got != "" {
		t.Errorf("the client has the app believe that %q called", got)
	}
	if err := bySidecar(out); err != nil {
		t.Error(err)
	}
	// A word that must be seen, after the secret: it is no TLS, and refused, but it passes.
	end := word("end")
	call.Do(t.Context(), call.Request{Protocol: call.TCP, Address: d.door, Text: end})
	capture.Sees(end)
	names := capture.Count(publicHost)
	t.Logf("at the Gateway the secret passed in plaintext %d times, and the SNI of one connection %d times", capture.Count(secret), names)
	if capture.Count(secret) != 0 {
		t.Error("at the Gateway the secret is seen")
	}
	if names != 2 {
		t.Errorf("the SNI is seen %d times, not once from the client and once to the app: the connection is wrapped, or not one", names)
	}
	d.others()
}

// others are the names that do not end at the sidecar: the app's own TLS is reached through the mesh's,
// and a name that no route has is refused.
func (d *doors) others() {
	d.t.Helper()
	var shown *tls.ConnectionState
	handshake := func(ctx context.Context, host string) error {
		dialer := tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}} //nolint:gosec // what is shown is looked at
		conn, err := dialer.DialContext(ctx, "tcp", d.door)
		if err != nil {
			return err
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState()
		shown = &state
		return nil
	}
	d.Until(time.Minute, "the app's own certificate is shown", func(ctx context.Context) error { return handshake(ctx, ownHost) })
	if names := shown.PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "own.echo.test" {
		d.t.Errorf("the certificate shown names %v, not the app", names)
	}
	if err := handshake(d.t.Context(), "none.through.test"); err == nil {
		d.t.Error("a name that no route has is served")
	}
}

// TestATokenGoesFromHopToHop: the Gateway ends TLS and speaks mTLS, as does every hop behind it, and the
// caller's token arrives at the second app as it was sent.
func TestATokenGoesFromHopToHop(t *testing.T) {
	stage.Parallel(t)
	d := openDoors(t, "hops")
	capture := d.Capture(d.Pod("next"), "echo")
	token := "Bearer " + word("good")
	out := d.visited(endedHost, "/via/next:80", map[string]string{"Authorization": token})
	if !strings.HasPrefix(out.Answer.Pod, "next-") || out.Answer.Headers.Get("Authorization") != token {
		t.Errorf("%s answered, and saw the token %q, not %q", out.Answer.Pod, out.Answer.Headers.Get("Authorization"), token)
	}
	d.from(out, identity(d.Scene, "echo"))
	end := word("end")
	call.Do(t.Context(), call.Request{Protocol: call.TCP, Address: at(d.Pod("next").Status.PodIP, 9000), Text: end})
	capture.Sees(end)
	if n := capture.Count(token); n != 0 {
		t.Errorf("between the two apps the token passed in plaintext %d times", n)
	}
}
