package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/e2e/call"
)

const (
	patience  = 10 * time.Second // for one request
	atOnce    = 10               // requests under way at a time
	separator = "\n"             // between what two requests print: an empty line
)

// command is the client's command line.
type command struct {
	url     *url.URL
	method  string
	headers http.Header
	count   int
}

// headers collects flags of the form name:value.
type headers http.Header

func (h headers) String() string { return "" }

func (h headers) Set(text string) error {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return fmt.Errorf("%q is not name:value", text)
	}
	http.Header(h).Add(name, strings.TrimSpace(value))
	return nil
}

// parse reads the command line, whose first word is the URL.
func parse(args []string) (c command, err error) {
	if len(args) == 0 {
		return c, fmt.Errorf("usage: client URL [--method=METHOD] [-H name:value]... [--count=N]")
	}
	c.headers = http.Header{}
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.StringVar(&c.method, "method", http.MethodGet, "HTTP method")
	flags.IntVar(&c.count, "count", 1, "how many requests to send")
	flags.Var(headers(c.headers), "H", "a header, as name:value; may be repeated")
	if err := flags.Parse(args[1:]); err != nil {
		return c, err
	}
	c.url, err = url.Parse(args[0])
	return c, err
}

// request sends the requests of a command line and prints what came of each, in order. One that is
// not answered is an error.
func request(args []string, to io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	send, done, err := c.sender()
	if err != nil {
		return err
	}
	defer done()
	answers := make([]bytes.Buffer, c.count)
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range answers {
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return send(ctx, answer{&answers[i], i})
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for i := range answers {
		if i > 0 {
			fmt.Fprint(to, separator)
		}
		if _, err := answers[i].WriteTo(to); err != nil {
			return err
		}
	}
	return nil
}

// answer is where one request prints what came of it.
type answer struct {
	*bytes.Buffer
	number int
}

func (a answer) line(format string, args ...any) {
	fmt.Fprintf(a, "[%d] %s\n", a.number, fmt.Sprintf(format, args...))
}

// body prints the lines that the server wrote.
func (a answer) body(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(a, "[%d body] %s\n", a.number, strings.TrimRight(line, "\r\n"))
	}
}

type send func(ctx context.Context, to answer) error

func (c command) sender() (one send, done func(), err error) {
	switch c.url.Scheme {
	case "http":
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}, CheckRedirect: stay}
		return func(ctx context.Context, to answer) error { return c.http(ctx, client, to) }, client.CloseIdleConnections, nil
	case "grpc":
		conn, err := grpc.NewClient("passthrough:///"+c.url.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, to answer) error { return c.grpc(ctx, conn, to) }, func() { _ = conn.Close() }, nil
	}
	return nil, nil, fmt.Errorf("scheme %q: http and grpc are known", c.url.Scheme)
}

// stay makes redirects an answer like any other.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c command) http(ctx context.Context, client *http.Client, to answer) error {
	request, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), nil)
	if err != nil {
		return err
	}
	request.Header = c.headers.Clone()
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	to.line("Url=%s", c.url)
	to.line("StatusCode=%d", response.StatusCode)
	for _, name := range sorted(response.Header) {
		for _, value := range response.Header[name] {
			to.line("ResponseHeader=%s:%s", name, value)
		}
	}
	to.body(string(body))
	return nil
}

func (c command) grpc(ctx context.Context, conn *grpc.ClientConn, to answer) error {
	for name, values := range c.headers {
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	body, err := call.Say(ctx, conn, "")
	if err != nil {
		return err
	}
	to.line("Url=%s", c.url)
	to.body(body)
	return nil
}

func sorted(h http.Header) []string {
	var names []string
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
