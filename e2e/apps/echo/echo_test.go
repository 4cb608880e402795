package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
)

// started is an application on free ports of the loopback interface.
func started(t *testing.T) *application {
	t.Helper()
	a, err := newApplication("echo-0")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.ports {
		if p.address != "" {
			p.address = "127.0.0.1:0"
		}
	}
	if err := a.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range a.ports {
			if err := p.turn(false); err != nil {
				t.Error(err)
			}
		}
	})
	return a
}

// ways are the calls to each port, and the protocol that the application sees.
var ways = []struct {
	port     string
	protocol call.Protocol
	seen     string
}{
	{"http", call.HTTP, "HTTP/1.1"},
	{"h2c", call.H2C, "HTTP/2.0"},
	{"http", call.WebSocket, "WebSocket"},
	{"grpc", call.GRPC, "gRPC"},
	{"tcp", call.TCP, "TCP"},
	{"greeting", call.Greeting, "TCP"},
	{"tls", call.TLS, "TLS"},
}

func TestEveryProtocolIsAnswered(t *testing.T) {
	a := started(t)
	for _, way := range ways {
		out := call.Do(t.Context(), call.Request{Protocol: way.protocol, Address: a.find(way.port).address, Text: "a word"})
		if err := out.Err(); err != nil {
			t.Errorf("%s: %v", way.protocol, err)
			continue
		}
		if got := out.Answer; got.Pod != "echo-0" || got.Protocol != way.seen || got.Said != "a word" || got.Remote != "127.0.0.1" {
			t.Errorf("%s: %+v", way.protocol, got)
		}
	}
	shown := call.Do(t.Context(), call.Request{Protocol: call.Peek, Address: a.find("tls").address})
	if len(shown.Names) != 1 || shown.Names[0] != "own.echo.test" {
		t.Errorf("the certificate shown names %v, not the application (%s)", shown.Names, shown.Failed)
	}
}

func TestAPortThatIsTurnedOffAnswersNobodyUntilItIsOnAgain(t *testing.T) {
	a := started(t)
	switched := httptest.NewServer(a.control())
	defer switched.Close()
	for _, way := range ways {
		request := call.Request{Protocol: way.protocol, Address: a.find(way.port).address, Text: "a word", Within: 2 * time.Second}
		put(t, switched.URL+"/ports/"+way.port+"/off")
		if out := call.Do(t.Context(), request); out.Err() == nil {
			t.Errorf("%s is answered though its port is off", way.protocol)
		}
		put(t, switched.URL+"/ports/"+way.port+"/on")
		if err := call.Do(t.Context(), request).Err(); err != nil {
			t.Errorf("%s is not answered though its port is on again: %v", way.protocol, err)
		}
	}
}

func TestTheExecProbeFollowsItsSwitch(t *testing.T) {
	a := started(t)
	switched := httptest.NewServer(a.control())
	defer switched.Close()
	for _, step := range []struct {
		state string
		want  int
	}{{"off", http.StatusServiceUnavailable}, {"on", http.StatusOK}} {
		put(t, switched.URL+"/ports/exec/"+step.state)
		response, err := http.Get(switched.URL + "/healthy")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != step.want {
			t.Errorf("exec is %s: status %d, want %d", step.state, response.StatusCode, step.want)
		}
	}
}

func TestBytesAreCounted(t *testing.T) {
	a := started(t)
	call.Do(t.Context(), call.Request{Protocol: call.TCP, Address: a.find("tcp").address, Text: "12345"})
	recorded := httptest.NewRecorder()
	a.control().ServeHTTP(recorded, httptest.NewRequest(http.MethodGet, "/status", nil))
	var all map[string]seen
	if err := json.Unmarshal(recorded.Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if got := all["tcp"]; got.Bytes != 6 || got.Connections != 1 || !got.On {
		t.Errorf("port tcp has seen %+v", got)
	}
}

func TestTheMeshsProtocolShowsACertificate(t *testing.T) {
	own, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a := started(t)
	go func() { _ = a.lines(listener, "mTLS", "") }()
	private, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	request := call.Request{Protocol: call.Mesh, Address: listener.Addr().String(), Text: "a word", Within: 5 * time.Second}
	if out := call.Do(t.Context(), request); out.Failed == "" {
		t.Error("a client without a certificate is answered")
	}
	request.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	request.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if out := call.Do(t.Context(), request); out.Err() != nil || out.Answer.Said != "a word" {
		t.Errorf("a client with a certificate has %+v", out)
	}
}

func TestDrainingTurnsUnready(t *testing.T) {
	a := started(t)
	a.drain()
	if out := call.Do(t.Context(), call.Request{Protocol: call.Health, Address: a.find("grpc").address}); !strings.Contains(out.Failed, "NOT_SERVING") {
		t.Errorf("gRPC's health says %q", out.Failed)
	}
	out := call.Do(t.Context(), call.Request{Protocol: call.HTTP, Address: a.find("http").address, Path: "/ready"})
	if out.Status != http.StatusServiceUnavailable {
		t.Errorf("/ready answers %d", out.Status)
	}
}

func put(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s", url, response.Status)
	}
}
