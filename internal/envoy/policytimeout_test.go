package envoy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/mesh"
)

// TestTimeoutPolicy: each bound ends what it is about, in its time, and a rule's own holds before it.
func TestTimeoutPolicy(t *testing.T) {
	t.Parallel()
	const bound = 500 * time.Millisecond
	endpoints := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/stream" || r.URL.Path == "/idle/busy" {
			if _, err := io.WriteString(w, "more"); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(bound / 5):
			case <-r.Context().Done():
				return
			}
		}
		<-r.Context().Done()
	})
	const all = "timeout: {request: 500ms}"
	proxy := world{endpoints: map[string][]mesh.Endpoint{"app": endpoints}, hosts: underPolicies(t, map[string]string{
		"request": all, "idle": "timeout: {idle: 500ms}", "stream": "timeout: {stream: 500ms}", "own": all,
	}, `
- {name: request, matches: [{path: {value: /request}}], backendRefs: [{name: app}]}
- {name: idle, matches: [{path: {value: /idle}}], backendRefs: [{name: app}]}
- {name: stream, matches: [{path: {value: /stream}}], backendRefs: [{name: app}]}
- {name: own, matches: [{path: {value: /own}}], backendRefs: [{name: app}], timeouts: {request: 1500ms}}
`)}.start(t)
	for path, least := range map[string]time.Duration{"/request": bound, "/idle": bound, "/own": 3 * bound} {
		began := time.Now()
		response, _ := proxy.send(t, "GET", path)
		if took := time.Since(began); response.StatusCode != 504 || took < least-20*time.Millisecond || took > least+2*time.Second {
			t.Errorf("%s: %d after %s; want 504 after %s", path, response.StatusCode, took, least)
		}
	}
	lasts := func(path string) time.Duration {
		began := time.Now()
		request, err := http.NewRequest("GET", proxy.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		within := &http.Client{Timeout: 8 * bound}
		response, err := within.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body) // it is cut off
		return time.Since(began)
	}
	if took := lasts("/stream"); took < bound-20*time.Millisecond || took > 6*bound { // with a second for the client to read
		t.Errorf("a stream is ended after %s; want %s", took, bound)
	}
	if took := lasts("/idle/busy"); took < 8*bound {
		t.Errorf("a stream on which much is sent counts as idle, and is ended after %s", took)
	}
}

// TestConnectTimeoutPolicy: a pod that takes no connection is given up after that time, and another is asked.
func TestConnectTimeoutPolicy(t *testing.T) {
	t.Parallel()
	proxy := world{endpoints: map[string][]mesh.Endpoint{"app": append(echoes(t, "a")["a"], mute(t))}, policies: decided(t, "timeout: {connect: 200ms}"),
		hosts: host(t, `[{backendRefs: [{name: app}]}]`)}.start(t)
	given := 0
	for range 20 {
		began := time.Now()
		response, _ := proxy.send(t, "POST", "/")
		took := time.Since(began)
		if response.StatusCode != 200 || took > 3*time.Second {
			t.Fatalf("%d after %s", response.StatusCode, took)
		}
		if took > 180*time.Millisecond {
			given++
		}
	}
	if given == 0 {
		t.Error("no request met the pod that takes no connection")
	}
}

// mute is a listener whose queue is full, so that nobody's connection to it comes about.
func mute(t *testing.T) mesh.Endpoint {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := mesh.Endpoint{Address: "127.0.0.1", Port: uint32(name.(*syscall.SockaddrInet4).Port)}
	for range 10 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", at.Port), 300*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("a queue of no length takes ten connections")
	return at
}
