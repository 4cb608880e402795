package envoy_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/mesh"
)

// mirrorTargets are destinations that are no good, by what is wrong with them.
func mirrorTargets(t *testing.T) map[string][]mesh.Endpoint {
	t.Helper()
	over := make(chan struct{})
	targets := map[string][]mesh.Endpoint{
		"silent": serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the copy may end at any time
			select {                           // no answer, ever
			case <-r.Context().Done():
			case <-over:
			}
		}),
		"deaf":    {listen(t, func(net.Conn) { <-over })}, // it reads nothing
		"dead":    {closedPort(t)},
		"broken":  serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"failing": serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
		"rude": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", "mirror")
			_, _ = w.Write(bytes.Repeat([]byte("no"), 16<<10))
		}),
		"nowhere": nil,
	}
	t.Cleanup(func() { close(over) }) // before the servers wait for their handlers
	return targets
}

// TestMirrorsDoNotHarm: whatever becomes of a copy, the request is answered as if there were none, small or
// large, also when hundreds of copies are never answered. Only what reads nothing holds up bodies of more than
// a mebibyte, and that for 10 s at most.
func TestMirrorsDoNotHarm(t *testing.T) {
	endpoints := mirrorTargets(t)
	names := []string{"missing"}
	for name := range endpoints {
		names = append(names, name)
	}
	slices.Sort(names)
	endpoints["a"] = serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Server", "backend")
		w.Header().Set("X-Read", time.Duration(n).String())
	})
	text := ""
	for _, name := range names {
		text += "- matches: [{path: {value: /" + name + "}}]\n  backendRefs: [{name: a}]\n  filters: [{type: RequestMirror, requestMirror: {backendRef: {name: " + name + "}}}]\n"
	}
	proxy := world{endpoints: endpoints, hosts: host(t, text)}.start(t)
	for _, size := range []int{0, 1 << 10, 512 << 10, large} {
		for _, name := range names {
			manyAnswered(t, proxy, "/"+name, size)
		}
	}
}

const large = 8 << 20 // bytes

// manyAnswered wants the one backend to answer each of many requests.
func manyAnswered(t *testing.T, proxy *gateway, path string, size int) {
	t.Helper()
	n := 200
	if size > 64<<10 {
		n = 5
	}
	var all sync.WaitGroup
	turns := make(chan struct{}, 20)
	for range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if took, problem := mirrored(proxy.url+path, size); problem != "" {
				t.Errorf("%s with %d bytes: %s after %v", path, size, problem, took)
			}
		})
	}
	all.Wait()
}

func mirrored(url string, size int) (took time.Duration, problem string) {
	start := time.Now()
	request, err := http.NewRequest("POST", url, bytes.NewReader(make([]byte, size)))
	if err != nil {
		return 0, err.Error()
	}
	impatient := &http.Client{Timeout: time.Minute, Transport: client.Transport}
	response, err := impatient.Do(request)
	if err != nil {
		return time.Since(start), err.Error()
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		problem = err.Error()
	}
	if response.StatusCode != 200 || response.Header.Get("Server") != "backend" || response.Header.Get("X-Read") != time.Duration(size).String() {
		problem = response.Status + " by " + response.Header.Get("Server") + ", which read " + response.Header.Get("X-Read")
	}
	return time.Since(start), problem
}
