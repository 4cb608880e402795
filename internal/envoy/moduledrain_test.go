package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestModuleTakesNoTime: requests under way while the first module comes end well, though they take nearly as long as
// connections have to end, and the proxy's main thread compiles the module for longer than is left.
func TestModuleTakesNoTime(t *testing.T) {
	t.Parallel()
	const drain, takes = 5 * time.Second, 4 * time.Second
	m := modular{startDraining(t, drain), map[string]room.Decided{}}
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(takes)
		}
		_, _ = fmt.Fprint(w, r.Header.Get("x-wasm"))
	})
	host := virtualHost(t, changingRoutes, "*", fmt.Sprintf("- backendRefs: [{name: %s}]\n", changingBackend))
	commit(m.store, map[string]proto.Message{
		changingBackend: envoy.Endpoints(mesh.Endpoints{Cluster: changingBackend, Addresses: slow}), host.Name(): envoy.VirtualHost(host)})
	asks := func(path string) (string, error) {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(m.url + path)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		got, err := io.ReadAll(response.Body)
		return fmt.Sprint(response.StatusCode, " ", string(got)), err
	}
	eventually(t, "it serves", func() bool { got, err := asks("/"); return err == nil && got == "200 " })
	m.decide(t, "/runs", "["+aModule("a", "{}")+"]")
	listener, host2 := m.entered(t, m.port)
	commit(m.store, listener, m.filters("/runs"), host2)
	time.AfterFunc(500*time.Millisecond, func() { commit(m.store, m.filters()) }) // it is fetched
	var underWay sync.WaitGroup
	eventually(t, "the module runs", func() bool {
		underWay.Go(func() {
			if got, err := asks("/slow"); err != nil || got != "200 " {
				t.Errorf("a request under way: %q, %v", got, err)
			}
		})
		time.Sleep(100 * time.Millisecond) // an even stream
		got, err := asks("/runs")
		if err != nil || got != "200 " && got != "200 ran{}" {
			t.Errorf("while the module comes: %q, %v", got, err)
		}
		return got == "200 ran{}"
	})
	underWay.Wait()
}
