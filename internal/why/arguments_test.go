package why

import (
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func noFile(string) ([]byte, error) { return nil, os.ErrNotExist }

// FuzzParse: whatever the arguments are, they are read or refused with a word on which of them is wrong.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"shop/web shop/orders:80 GET /orders", "- pod/shop/a:1 - -", "10.0.0.1 gateway/shop/web:443 POST /a?b --host a.example.com", "spiffe://a/ns/b/sa/c service/shop/orders:http GET /",
		"shop/web shop/orders:80 GET / --header a=b --claims {\"a\":1} --issuer x --source-ip ::1 -o json --at 2026-08-01T09:00:00Z", "fe80::1%eth0 shop/orders:0 GET /", "-h", "-- - - - -",
		"/ :80 GET /", "pod// pod//:1 GET /", "shop/web shop/orders: GET /", "shop/web gateway/a/b:65536 GET / --host x", "7d0c5a4e-3c5b-9c0b-8f6e-2b1f6a3b9d11",
	} {
		f.Add(line)
	}
	names := []string{"SRC", "DST", "METHOD", "PATH", "--", "-o", "flag", "weft why takes"}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := Parse(strings.Fields(line), time.Unix(0, 0), noFile, quiet)
		switch {
		case errors.Is(err, errHelp):
		case err != nil:
			for _, name := range names {
				if strings.Contains(err.Error(), name) {
					return
				}
			}
			t.Errorf("%q: %v names no argument", line, err)
		case a.ID != "": // of a request, which is asked for alone
			if a.Source.kind != "" || a.Destination.name != "" {
				t.Errorf("%q: %+v", line, a)
			}
		case a.Source.kind == "" || a.Destination.name == "" || (a.Method == "") != (a.Path == ""):
			t.Errorf("%q: %+v", line, a)
		}
	})
}

var errHelp = flag.ErrHelp

// quiet keeps what is wrong from being told twice.
func quiet(set *flag.FlagSet) { set.SetOutput(io.Discard) }

// TestNormalized: a path is read as proxies read it.
func TestNormalized(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"/a": "/a", "/a?b=/c": "/a", "/a//b": "/a/b", "/a/./b": "/a/b", "/a/../b": "/b", "/../b": "/b", "/a/..": "/", "/a/.": "/a/", "/%61%2eb": "/a.b", "/a/%2e%2e/b": "/b",
		`/a\..\b`: "/b", "/a;b": "/a;b", "/%2561": "/%2561", "/%20": "/%20", "/a{b}|": "/a%7Bb%7D%7C", "/a/..;x/b": "/b", "/a/.;x": "/a/", "/a/%2e%2e;/b": "/a/..;/b", "/a/b/": "/a/b/", "/": "/", "//": "//", "///": "//", "//a//": "/a/",
	} {
		if got, problem := PathOf(sent); got != want || problem != "" {
			t.Errorf("%s is read as %s, %s; want %s", sent, got, problem, want)
		}
	}
	for _, sent := range []string{"/a%2fb", "/a%5Cb", "/a#b", "/a%00", "/a\x01", "/é", "/a b", "/a%", "/a%4", "/a%zz"} {
		if _, problem := PathOf(sent); problem == "" {
			t.Errorf("%q is not refused", sent)
		}
	}
}
