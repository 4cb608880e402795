// Package prometheustest runs the real Prometheus for tests.
package prometheustest

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long it may take to start.
const patience = 30 * time.Second

// Stored starts one that has stored what is given, in the format OpenMetrics with a time at each sample,
// and scrapes nothing. It returns its URL. The test is skipped where there is no Prometheus.
func Stored(t testing.TB, openMetrics string) string {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no prometheus on this machine (Debian: apt-get install prometheus)")
		}
	}
	folder := t.TempDir()
	text, config, data := filepath.Join(folder, "samples"), filepath.Join(folder, "prometheus.yml"), filepath.Join(folder, "data")
	for name, content := range map[string]string{text: openMetrics, config: "{}"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", text, data).CombinedOutput(); err != nil {
		t.Fatalf("store samples: %v: %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	command := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=100y", "--web.listen-address="+address)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // what it wrote goes with the folder
		_ = command.Wait()
	})
	awaitReady(t, "http://"+address)
	return "http://" + address
}

func awaitReady(t testing.TB, url string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		response, err := http.Get(url + "/-/ready")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("Prometheus is not ready within %s", patience)
}
