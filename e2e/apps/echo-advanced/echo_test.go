package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	suite "sigs.k8s.io/gateway-api/conformance/utils/echo"

	"github.com/weft-mesh/weft/e2e/call"
)

// printed is what the client prints, by the suite's own parser.
func printed(t *testing.T, args ...string) (text string, parsed suite.Response) {
	t.Helper()
	var out bytes.Buffer
	if err := request(args, &out); err != nil {
		t.Fatal(err)
	}
	return out.String(), suite.ParseResponse(out.String())
}

func TestTheSuiteReadsAnHTTPAnswer(t *testing.T) {
	server := httptest.NewServer(site{"echo-v1-abc-xyz", 8080})
	defer server.Close()
	text, got := printed(t, server.URL+"/v2/example?animal=whale", "--method=GET", "-H", "Version:two", "-H", "Host:echo-v1")
	if got.Code != "200" || got.Hostname != "echo-v1-abc-xyz" || got.Host != "echo-v1" || got.Method != "GET" ||
		got.URL != "/v2/example?animal=whale" || got.Protocol != "HTTP/1.1" || got.IP != "127.0.0.1" {
		t.Errorf("the suite reads %s\nfrom\n%s", got, text)
	}
	if got.RequestHeaders.Get("Version") != "two" || got.ResponseHeaders.Get("Content-Type") != "text/plain" {
		t.Errorf("the suite reads the headers %v and %v", got.RequestHeaders, got.ResponseHeaders)
	}
}

func TestARedirectAndAnErrorAreAnswers(t *testing.T) {
	for status, header := range map[int]string{http.StatusSeeOther: "/elsewhere", http.StatusNotFound: ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Header-Set", "set")
			w.Header().Set("Location", header)
			w.WriteHeader(status)
		}))
		text, got := printed(t, server.URL, "--method=GET")
		server.Close()
		if got.Code != strconv.Itoa(status) || got.Hostname != "" || got.ResponseHeaders.Get("X-Header-Set") != "set" || got.ResponseHeaders.Get("Location") != header {
			t.Errorf("status %d is read as %s\nfrom\n%s", status, got, text)
		}
	}
}

func TestTheSuiteReadsAGRPCAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	defer server.Stop()
	call.Serve(server, site{"echo-v2-abc-xyz", 7070})
	go func() { _ = server.Serve(listener) }()
	text, got := printed(t, "grpc://"+listener.Addr().String(), "-H", "version:two")
	if got.Code != "200" || got.Hostname != "echo-v2-abc-xyz" || got.RequestHeaders.Get("Version") != "two" {
		t.Errorf("the suite reads %s\nfrom\n%s", got, text)
	}
}

func TestABatchIsReadOneByOne(t *testing.T) {
	server := httptest.NewServer(site{"echo-v1-abc-xyz", 8080})
	defer server.Close()
	text, _ := printed(t, server.URL, "--method=GET", "--count=500")
	all := strings.Split(text, "\n\n") // as the suite does
	if len(all) != 500 {
		t.Fatalf("%d answers, want 500", len(all))
	}
	for _, one := range all {
		if got := suite.ParseResponse(one); got.Code != "200" || got.Hostname != "echo-v1-abc-xyz" {
			t.Fatalf("the suite reads %s\nfrom\n%s", got, one)
		}
	}
}

func TestNoAnswerIsAnError(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:1", "grpc://127.0.0.1:1", "ftp://127.0.0.1:1"} {
		if err := request([]string{url}, new(bytes.Buffer)); err == nil {
			t.Errorf("%s ends well", url)
		}
	}
}

func TestTheSuitesCommandLineIsUnderstood(t *testing.T) {
	got, err := parse([]string{"http://echo/", "--method=POST", "-H", "a:b:c", "--count=3"})
	if err != nil || got.method != http.MethodPost || got.headers.Get("a") != "b:c" || got.count != 3 || got.url.Host != "echo" {
		t.Errorf("%+v, %v", got, err)
	}
}
