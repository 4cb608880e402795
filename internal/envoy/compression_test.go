package envoy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// everyCompression has everything that can be said of one.
const everyCompression = `{algorithms: [Zstd, Gzip], contentTypes: [text/html, application/wasm], minContentLength: 7, disableOnETagHeader: true}`

func compression(t *testing.T, text string) []room.Decided {
	t.Helper()
	s := roomtest.Written[v1alpha1.Compression](t, text)
	return []room.Decided{{Section: "compression", Policy: "shop/compression", Says: s}}
}

// compressed is a gateway to an app.
func compressed(t *testing.T, app http.HandlerFunc, says map[string]string) *gateway {
	t.Helper()
	return world{endpoints: map[string][]mesh.Endpoint{"a": serve(t, app)}, hosts: decidedHost(t, says, toA, compression)}.start(t)
}

const page = 20_000 // bytes, all alike

// pages answers as a query asks: with headers, of a length, without telling it.
func pages(w http.ResponseWriter, r *http.Request) {
	q, size := r.URL.Query(), page
	if text := q.Get("size"); text != "" {
		_, _ = fmt.Sscan(text, &size)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	for name, values := range q {
		if name != "size" && name != "chunked" && name != "code" {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	switch body := strings.Repeat("a", size); {
	case q.Has("code"):
		code := 0
		_, _ = fmt.Sscan(q.Get("code"), &code)
		w.WriteHeader(code)
		if code == http.StatusPartialContent || code >= 400 {
			_, _ = io.WriteString(w, body)
		}
	case q.Has("chunked"):
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, body)
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	}
}

// answered is one with the bytes that came; the headers of the request are in pairs.
func (g *gateway) answered(t *testing.T, method, path string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	request := g.request(t, method, path, headers...)
	if request.Header.Get("Accept-Encoding") == "" {
		request.Header.Set("Accept-Encoding", "identity") // or Go asks for gzip, and undoes it
	}
	return receive(t, request)
}

// begins tells by their first bytes what bytes are.
func begins(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	case bytes.HasPrefix(b, []byte("aaaa")):
		return ""
	}
	return "br" // which has no mark
}

// TestCompression: what is compressed, and how.
func TestCompression(t *testing.T) {
	t.Parallel()
	g := compressed(t, pages, map[string]string{
		"/":     `{}`,
		"/gzip": `{algorithms: [Gzip]}`,
		"/zstd": `{algorithms: [Zstd, Brotli]}`,
		"/wasm": `{contentTypes: [application/wasm, text/event-stream]}`,
		"/any":  `{minContentLength: 40}`,
		"/etag": `{disableOnETagHeader: true}`,
		"/none": `{disabled: true}`,
	})
	const browser = "gzip, deflate, br, zstd"
	for _, c := range []struct{ path, accept, want string }{
		{"/", browser, "br"}, // the first of those that are offered
		{"/", "gzip, zstd", "gzip"},
		{"/", "zstd, gzip", "zstd"},
		{"/", "br;q=0.5, gzip", "gzip"},
		{"/", "br;q=0, *", "zstd"},
		{"/", "*", "br"},
		{"/", "identity", ""},
		{"/", "deflate", ""},
		{"/", "gzip;q=0", ""},
		{"/gzip", browser, "gzip"},
		{"/gzip", "br, zstd", ""},
		{"/zstd", browser, "zstd"},
		{"/zstd", "br", "br"},
		{"/none", browser, ""},
		{"/wasm", browser, ""},
		{"/wasm?content-type=application/wasm", browser, "br"},
		{"/?content-type=application/wasm", browser, ""},
		{"/?content-type=application/json", browser, "br"},
		{"/?content-type=application/xml", browser, "br"},
		{"/?content-type=text/javascript", browser, "br"},
		{"/?content-type=APPLICATION/json", browser, "br"},
		{"/?content-type=image/png", browser, ""},
		{"/?content-type=application/grpc", browser, ""},
		{"/?content-type=text/event-stream", browser, ""},
		{"/?size=1023", browser, ""},
		{"/?size=1024", browser, "br"},
		{"/any?size=39", browser, ""},
		{"/any?size=40", browser, "br"},
		{"/?size=5&chunked", browser, "br"}, // nobody knows before
		{"/?cache-control=max-age%3D1,+no-transform", browser, ""},
		{"/?content-encoding=deflate", browser, "deflate"}, // as the app says
		{"/?code=404", browser, "br"},
	} {
		response, body := g.answered(t, "GET", c.path, "Accept-Encoding", c.accept)
		is := begins(body)
		if c.want == "deflate" {
			is = "deflate"
		}
		if got := response.Header.Get("Content-Encoding"); got != c.want || is != c.want {
			t.Errorf("%s to %q: is of %q and begins as %q; want %q", c.path, c.accept, got, is, c.want)
		}
		if c.want != "" && is != "deflate" && len(body) > page/50 {
			t.Errorf("%s to %q: %d bytes of %d", c.path, c.accept, len(body), page)
		}
	}
	headersOfCompressed(t, g)
}

// headersOfCompressed looks at what is said of answers, and at those without a body, or with a part of one.
func headersOfCompressed(t *testing.T, g *gateway) {
	t.Helper()
	const etag = `"v1"`
	for _, c := range []struct {
		method, path                                 string
		headers                                      []string
		status, size                                 int
		contentEncoding, contentLength, vary, etagIs string
	}{
		{"GET", "/?etag=" + etag, nil, 200, page, "", "20000", "Accept-Encoding", etag},
		{"GET", "/gzip?etag=" + etag, []string{"Accept-Encoding", "gzip"}, 200, -1, "gzip", "", "Accept-Encoding", "W/" + etag},
		{"GET", "/gzip?etag=W/" + etag, []string{"Accept-Encoding", "gzip"}, 200, -1, "gzip", "", "Accept-Encoding", "W/" + etag},
		{"GET", "/gzip?vary=Origin", []string{"Accept-Encoding", "gzip"}, 200, -1, "gzip", "", "Origin, Accept-Encoding", ""},
		{"GET", "/etag?etag=" + etag, []string{"Accept-Encoding", "gzip"}, 200, page, "", "20000", "", etag},
		{"GET", "/etag", []string{"Accept-Encoding", "gzip"}, 200, -1, "gzip", "", "Accept-Encoding", ""},
		{"GET", "/?etag=" + etag, []string{"Accept-Encoding", "gzip", "If-None-Match", "W/" + etag}, 304, 0, "", "", "Accept-Encoding", etag},
		{"GET", "/?etag=" + etag, []string{"Accept-Encoding", "gzip", "Range", "bytes=0-4999"}, 206, 5000, "", "5000", "", etag},
		{"GET", "/?code=206&content-range=bytes+0-19999/40000", []string{"Accept-Encoding", "gzip"}, 206, page, "", "", "", ""},
		{"GET", "/?code=204", []string{"Accept-Encoding", "gzip"}, 204, 0, "", "", "Accept-Encoding", ""},
		{"HEAD", "/?etag=" + etag, []string{"Accept-Encoding", "gzip"}, 200, 0, "", "20000", "Accept-Encoding", etag},
		{"GET", "/none?etag=" + etag, []string{"Accept-Encoding", "gzip"}, 200, page, "", "20000", "", etag},
		{"GET", "/?content-type=image/png", []string{"Accept-Encoding", "gzip"}, 200, page, "", "20000", "", ""},
	} {
		response, body := g.answered(t, c.method, c.path, c.headers...)
		h := response.Header
		if response.StatusCode != c.status || c.size >= 0 && len(body) != c.size || c.size < 0 && len(body) > page/50 {
			t.Errorf("%s %s %v: %d and %d bytes; want %d and %d", c.method, c.path, c.headers, response.StatusCode, len(body), c.status, c.size)
		}
		if h.Get("Content-Encoding") != c.contentEncoding || c.contentLength != "" && h.Get("Content-Length") != c.contentLength || h.Get("Vary") != c.vary || h.Get("ETag") != c.etagIs {
			t.Errorf("%s %s %v: %v; want encoding %q, length %q, vary %q, etag %q", c.method, c.path, c.headers, h, c.contentEncoding, c.contentLength, c.vary, c.etagIs)
		}
	}
}

// TestCompressionOfStreams: what an app has written comes at once, not when there is more, of whatever type
// it is: of one that is not compressed, and of one that is.
func TestCompressionOfStreams(t *testing.T) {
	t.Parallel()
	next, events := make(chan bool), strings.Repeat("data: a\n\n", 10)
	g := compressed(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, events) // the test sees what is missing
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}, map[string]string{"/plain": `{}`, "/packed": `{contentTypes: [text/event-stream], algorithms: [Gzip]}`})
	for path, packed := range map[string]bool{"/plain": false, "/packed": true} {
		response, err := client.Get(g.url + path) // which asks for gzip, and undoes it
		if err != nil {
			t.Fatal(err)
		}
		if response.Uncompressed != packed {
			t.Errorf("%s is compressed: %v", path, response.Uncompressed)
		}
		from := bufio.NewReader(response.Body)
		for range 3 {
			if got, err := io.ReadAll(io.LimitReader(from, int64(len(events)))); err != nil || string(got) != events {
				t.Errorf("%s: %q, %v", path, got, err)
			}
			next <- true
		}
		response.Body.Close()
	}
}

// TestCompressionChanges: answers are whole while the section comes, changes and goes.
func TestCompressionChanges(t *testing.T) {
	t.Parallel()
	const routes, backend = "gateway/shop/web/80", "service/shop/cart/80"
	p, store, ports := served(t, 4)
	say := func(text string) {
		v := virtualHost(t, routes, "shop.test", fmt.Sprintf("- {backendRefs: [{name: %s}]}", backend))
		if text != "" {
			v.Rules[0].Policies = compression(t, text)
		}
		commit(store, map[string]proto.Message{v.Name(): envoy.VirtualHost(v)})
	}
	commit(store, map[string]proto.Message{
		routes:  envoy.Listener(mesh.Listener{Name: routes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: routes}}}),
		backend: envoy.Cluster(mesh.Cluster{Name: backend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		routes:  envoy.RouteConfiguration(routes),
		backend: envoy.Endpoints(mesh.Endpoints{Cluster: backend, Addresses: serve(t, pages)}),
	})
	say("")
	g := run(t, bootstrap(t, p), 0)
	g.url = fmt.Sprintf("http://127.0.0.1:%d", ports[3])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", ports[1])+envoy.ReadyPath) == 200 })
	var whole atomic.Int32
	stop, failed := make(chan bool), make(chan error, 1)
	go func() { failed <- keepsAsking(g.url, &whole, stop) }()
	for text, want := range map[string]string{`{}`: "br", `{algorithms: [Gzip]}`: "gzip", `{contentTypes: [text/css]}`: "", `{algorithms: [Zstd]}`: "zstd"} {
		say(text)
		eventually(t, "the answers are of "+want, func() bool {
			r, _ := g.answered(t, "GET", "/", "Host", "shop.test", "Accept-Encoding", "gzip, br, zstd")
			return r.StatusCode == 200 && r.Header.Get("Content-Encoding") == want
		})
		before := whole.Load()
		eventually(t, "more answers", func() bool { return whole.Load() > before+25 || len(failed) > 0 })
	}
	say("")
	close(stop)
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// keepsAsking asks for a page time and again, and counts the answers, until it is stopped or one is not whole.
func keepsAsking(url string, whole *atomic.Int32, stop <-chan bool) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		request, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return err
		}
		request.Host = "shop.test"
		response, err := client.Do(request) // which asks for gzip, and undoes it
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != 200 || len(body) != page {
			return fmt.Errorf("after %d: %d, %d bytes, %v", whole.Load(), response.StatusCode, len(body), err)
		}
		whole.Add(1)
	}
}
