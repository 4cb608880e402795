package download

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func anywhere(netip.Addr) error { return nil }

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// serve answers by path.
func serve(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write([]byte("good"))
		case "/streamed":
			for range 20 {
				_, _ = w.Write([]byte("more"))
				w.(http.Flusher).Flush()
			}
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "6")
			_, _ = w.Write([]byte("good"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestGet(t *testing.T) {
	at, g := serve(t), New(anywhere)
	for path, want := range map[string]string{
		"/good": "", "/moved": "",
		"/streamed": "more than 8 bytes", "/none": "answers 404", "/loop": "redirects more than 5 times", "/cut": "unexpected EOF",
	} {
		text, err := g.Get(t.Context(), at+path, digest("good"), 8)
		if want == "" && (err != nil || text != "good") || want != "" && (err == nil || !strings.Contains(err.Error(), want) || text != "") {
			t.Errorf("%s: %q, %v; want %q", path, text, err, want)
		}
	}
}

// TestMismatch: what is got and is not what was asked for is told apart from what may come later.
func TestMismatch(t *testing.T) {
	at, g := serve(t), New(anywhere)
	for url, is := range map[string]bool{at + "/good": true, at + "/streamed": true, at + "/none": false, "http://127.0.0.1:1/": false, "http://a b/": true} {
		_, err := g.Get(t.Context(), url, digest("bad"), 8)
		if got := errors.As(err, new(Mismatch)); err == nil || got != is {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := g.Get(t.Context(), at+"/good", digest("bad"), 8); !strings.Contains(err.Error(), digest("good")) {
		t.Errorf("it does not tell the digest: %v", err)
	}
}

func TestPublic(t *testing.T) {
	at := serve(t)
	if _, err := New(nil).Get(t.Context(), at+"/good", digest("good"), 8); err == nil || !strings.Contains(err.Error(), "own machine") || strings.Contains(err.Error(), "Get ") {
		t.Errorf("%v", err)
	}
	for address, may := range map[string]bool{"10.0.0.1": true, "2001:db8::1": true, "127.0.0.2": false, "::1": false, "169.254.169.254": false, "fe80::1": false, "0.0.0.0": false, "224.0.0.1": false} {
		if err := Public(netip.MustParseAddr(address)); (err == nil) != may {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestHTTPS: a server whose certificate nobody knows is not believed.
func TestHTTPS(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	if _, err := New(anywhere).Get(t.Context(), s.URL, digest(""), 8); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	if authorities().Equal(x509.NewCertPool()) {
		t.Error("no authorities")
	}
}
