package envoytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
)

// patience is how long a condition may take to hold.
const patience = 20 * time.Second

// Envoy is a running proxy.
type Envoy struct {
	t     testing.TB
	admin string
	pid   int
	log   *tail
}

// Start runs Envoy until the test ends. Its admin address is chosen here; the log is
// shown when the test fails.
func Start(t testing.TB, b *bootstrap.Bootstrap) *Envoy {
	t.Helper()
	b = proto.CloneOf(b)
	b.Admin = &bootstrap.Admin{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 0}}}}}
	config := write(t, b)
	at := filepath.Join(filepath.Dir(config), "admin")
	e := &Envoy{t: t, log: &tail{}}
	cmd := exec.Command(Path(t), "--config-path", config, "--admin-address-path", at,
		"--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "50", "--log-level", "warning", "--component-log-level", "upstream:info")
	cmd.Stdout, cmd.Stderr = e.log, e.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Envoy: %v", err)
	}
	e.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", e.log)
		}
	})
	e.Until("the admin address is known", func() bool {
		body, err := os.ReadFile(at)
		e.admin = strings.TrimSpace(string(body))
		return err == nil && e.admin != ""
	})
	return e
}

// Until waits for a condition.
func (e *Envoy) Until(what string, holds func() bool) {
	e.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

// Admin returns what a GET of the admin interface answers.
func (e *Envoy) Admin(path string) []byte {
	e.t.Helper()
	resp, err := http.Get("http://" + e.admin + path)
	if err != nil {
		e.t.Fatalf("ask Envoy's admin interface: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		e.t.Fatalf("ask Envoy's admin interface for %s: %s %v", path, resp.Status, err)
	}
	return body
}

// Counter returns a counter or gauge; 0 when there is none of that name.
func (e *Envoy) Counter(name string) int {
	e.t.Helper()
	var answer struct {
		Stats []struct {
			Name  string
			Value any
		}
	}
	if err := json.Unmarshal(e.Admin("/stats?format=json&filter=^"+name+"$"), &answer); err != nil {
		e.t.Fatalf("read Envoy's stats: %v", err)
	}
	for _, s := range answer.Stats {
		if v, ok := s.Value.(float64); ok && s.Name == name {
			return int(v)
		}
	}
	return 0
}

// AdminAddress is the host:port of the admin interface.
func (e *Envoy) AdminAddress() string { return e.admin }

// PID is the proxy's process.
func (e *Envoy) PID() int { return e.pid }

// Log returns what Envoy has logged.
func (e *Envoy) Log() string { return e.log.String() }

// Get sends a request to one of the proxy's listeners and returns "STATUS BODY".
func (e *Envoy) Get(port int, host, path string) string {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Host = host
	resp, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
}

// tail is a log that two goroutines may use.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
