package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/porttest"
)

// A proxy whose main thread is held, here by Clusters that it reads to no end, serves as before, and so
// it says.
func TestReadyWhileMainThreadIsHeld(t *testing.T) {
	t.Parallel()
	clusters := filepath.Join(t.TempDir(), "clusters.json")
	noClusters(t, clusters)
	ports := porttest.Free(t, 3)
	own := sample
	own.AdminPort, own.ReadyPort, own.StatsPort = ports[0], ports[1], ports[2]
	config := bootstrap(t, own)
	config.StaticResources.Clusters = config.StaticResources.Clusters[1:] // the operator
	config.DynamicResources = &bootstrapv3.Bootstrap_DynamicResources{CdsConfig: &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: clusters},
		},
	}}
	run(t, config, 0)
	ready := fmt.Sprintf("http://127.0.0.1:%d%s", own.ReadyPort, envoy.ReadyPath)
	eventually(t, "the proxy is ready", func() bool { return status(ready) == 200 })

	release, answered := hold(t, clusters), make(chan int, 1)
	go func() { answered <- status(fmt.Sprintf("http://127.0.0.1:%d/server_info", own.AdminPort)) }()
	if got := status(ready); got != 200 {
		t.Errorf("ready while the main thread is held: %d", got)
	}
	select {
	case got := <-answered:
		t.Errorf("the main thread is not held: %d", got)
	default:
	}
	release()
	if got := <-answered; got != 200 {
		t.Errorf("the main thread, once released: %d", got)
	}
}

// hold puts a pipe in the place of a file that Envoy watches. It returns once Envoy's main thread has
// opened it, which then waits for its end until release is called.
func hold(t *testing.T, file string) (release func()) {
	t.Helper()
	pipe := file + ".pipe"
	err := syscall.Mkfifo(pipe, 0o600)
	if err == nil {
		err = os.Rename(pipe, file)
	}
	if err != nil {
		t.Fatal(err)
	}
	var end *os.File
	eventually(t, "the main thread opens the pipe", func() bool {
		end, err = os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails without a reader
		return err == nil
	})
	t.Cleanup(func() { end.Close() })
	return func() {
		noClusters(t, file) // to be read if it looks again
		if _, err := end.WriteString(`{"resources": []}`); err != nil {
			t.Error(err)
		}
		end.Close()
	}
}

// noClusters moves an answer without Clusters to where Envoy watches for one.
func noClusters(t *testing.T, file string) {
	t.Helper()
	next := file + ".next"
	err := os.WriteFile(next, []byte(`{"resources": []}`), 0o600)
	if err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// refuses tells that nobody listens where the kubelet probes, so that a probe fails at once.
func (g *gateway) refuses() bool {
	_, err := client.Get(g.ready + envoy.ReadyPath)
	return errors.Is(err, syscall.ECONNREFUSED)
}
