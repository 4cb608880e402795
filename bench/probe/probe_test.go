package probe_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/bench/probe"
)

// server answers 404, and the status then from the third request on.
func server(t *testing.T, then int) *probe.Conn {
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "shop.test" || r.URL.Path != "/goods":
			w.WriteHeader(http.StatusTeapot)
		case n.Add(1) < 3:
			w.WriteHeader(http.StatusNotFound)
		default:
			w.WriteHeader(then)
		}
	}))
	t.Cleanup(s.Close)
	c, err := probe.Dial(s.Listener.Addr().String(), "shop.test", "/goods")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // before the server, which would wait for it
	return c
}

func TestUntil(t *testing.T) {
	if err := server(t, http.StatusOK).Until(t.Context(), http.StatusOK, http.StatusNotFound); err != nil {
		t.Error(err)
	}
	if err := server(t, http.StatusServiceUnavailable).Until(t.Context(), http.StatusOK, http.StatusNotFound); err == nil {
		t.Error("503 between 404 and 200 is taken")
	}
}
