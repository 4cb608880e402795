package why

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Usage is what the command's arguments are.
const Usage = `Usage: weft why SRC DST METHOD PATH [flags]
       weft why ID [flags]

Tells why a call is let in, or is not: by which policy and rule, and where none allows it, how near each came.
It asks the cluster for objects, and evaluates what is written now. Of a request by its ID, which a 403 has in
x-request-id, it asks weft authz, and evaluates what was written when it was decided.

  SRC     who calls: namespace/serviceaccount, pod/namespace/name, gateway/namespace/name, an IP address,
          a SPIFFE ID, or - for a caller of whom nothing is known
  DST     who is called: [service/]namespace/name:port, pod/namespace/name:port,
          gateway/namespace/name[:port] with --host
  METHOD  such as GET, and PATH as it is sent; - and - for a connection without HTTP

It exits with 0 where the call is allowed, 1 where it is not, and 2 on an error.

Flags:
`

// Arguments are those of the command.
type Arguments struct {
	Question
	ID   string // of a request that was decided; with it there is no Question
	JSON bool
}

// headers are the flags --header.
type headers map[string][]string

func (h headers) String() string { return "" }

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// Set takes one in.
func (h headers) Set(text string) error {
	name, value, has := strings.Cut(text, "=")
	if !has || !headerName.MatchString(name) {
		return errors.New("write name=value, as in x-tenant=ten")
	}
	name = strings.ToLower(name)
	h[name] = append(h[name], value)
	return nil
}

// flags are those that are not of the Question as they are.
type flags struct {
	claims, issuer, output, at string
}

// Parse reads the arguments. What a flag names as a file, read has; more flags of its own may be defined. What is
// wrong is told by the argument's name.
func Parse(args []string, now time.Time, read func(file string) ([]byte, error), more func(*flag.FlagSet)) (a Arguments, err error) {
	var f flags
	all := headers{}
	set := flag.NewFlagSet("weft why", flag.ContinueOnError)
	set.Usage = func() {
		_, _ = io.WriteString(set.Output(), Usage) // nobody is left to tell
		set.PrintDefaults()
	}
	set.Var(all, "header", "that the request has, as name=value; several times for several")
	set.StringVar(&a.Host, "host", "", "that the request names; by default the Service's name")
	set.StringVar(&f.claims, "claims", "", "of a token that a provider made: JSON, or a file with it")
	set.StringVar(&f.issuer, "issuer", "", "of the token: its claim iss")
	set.StringVar(&a.SourceIP, "source-ip", "", "that the connection comes from; by default the calling pod's")
	set.StringVar(&f.at, "at", "", "when it is called, as in 2026-08-01T09:00:00Z; by default now")
	set.StringVar(&f.output, "o", "text", "what is written: text or json")
	if more != nil {
		more(set)
	}
	words, err := positional(set, args)
	if err != nil {
		return a, err
	}
	switch len(words) {
	case 1:
		return a, a.request(words[0], f)
	case 4:
	default:
		return a, fmt.Errorf("weft why takes SRC, DST, METHOD and PATH, or the ID of a request, not %d arguments %q: see weft why -h", len(words), words)
	}
	a.Headers = all
	if err := a.take(words); err != nil {
		return a, err
	}
	return a, a.flags(f, now, read)
}

// positional are the arguments that are no flags, wherever these stand.
func positional(set *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, set.Arg(0)), set.Args()[1:]
	}
}

// request reads the ID of one. What else is known of it was recorded.
func (a *Arguments) request(id string, f flags) error {
	switch {
	case id == "" || len(id) > 256:
		return errors.New("ID: write what the answer has in the header x-request-id")
	case a.Host != "" || a.SourceIP != "" || f.claims != "" || f.issuer != "" || f.at != "":
		return errors.New("of a request by its ID all is recorded: leave out the flags that say what it is")
	case f.output != "text" && f.output != "json":
		return fmt.Errorf("-o %q: write json or text", f.output)
	}
	a.ID, a.JSON = id, f.output == "json"
	return nil
}

var methodName = regexp.MustCompile(`^[A-Z][-A-Z_]*$`)

// take reads the four.
func (a *Arguments) take(words []string) (err error) {
	if a.Source, err = ParseSource(words[0]); err != nil {
		return err
	}
	if a.Destination, err = ParseDestination(words[1]); err != nil {
		return err
	}
	method, path := words[2], words[3]
	switch {
	case method == "-" && path == "-":
		return nil
	case method == "-" || path == "-":
		return errors.New("METHOD and PATH: write both, or - and - for a connection without HTTP")
	case !methodName.MatchString(method):
		return fmt.Errorf("METHOD %q: methods are in capital letters, as in GET", method)
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("PATH %q: a path begins with /", path)
	}
	a.Method, a.Path = method, path
	return nil
}

// flags reads the flags.
func (a *Arguments) flags(f flags, now time.Time, read func(string) ([]byte, error)) (err error) {
	switch f.output {
	case "json":
		a.JSON = true
	case "text":
	default:
		return fmt.Errorf("-o %q: write json or text", f.output)
	}
	if a.At = now; f.at != "" {
		if a.At, err = time.Parse(time.RFC3339, f.at); err != nil {
			return fmt.Errorf("--at %q: write a time as in 2026-08-01T09:00:00Z", f.at)
		}
	}
	if a.SourceIP != "" {
		ip, err := netip.ParseAddr(a.SourceIP)
		if err != nil || ip.Zone() != "" {
			return fmt.Errorf("--source-ip %q: write an address, as in 10.1.2.3", a.SourceIP)
		}
		a.SourceIP = ip.Unmap().String()
	}
	if a.Destination.kind == toGateway && a.Host == "" {
		return errors.New("--host: a Gateway goes by the host: write the one that is called, as in --host shop.example.com")
	}
	if a.Host == "" {
		a.Host = a.Destination.authority()
	}
	if a.Claims, err = claims(f, read); err != nil {
		return err
	}
	return nil
}

// claims are those of the flags; nil: there is no token.
func claims(f flags, read func(string) ([]byte, error)) (out map[string]any, err error) {
	text := []byte(f.claims)
	if f.claims != "" && !strings.HasPrefix(strings.TrimSpace(f.claims), "{") {
		if text, err = read(f.claims); err != nil {
			return nil, fmt.Errorf("--claims: write an object of JSON, or name a file with one: %w", err)
		}
	}
	if f.claims != "" {
		if err := json.Unmarshal(text, &out); err != nil || out == nil {
			return nil, fmt.Errorf("--claims: that is no object of JSON, such as {\"sub\": \"ann\"}: %v", err)
		}
	}
	if f.issuer == "" {
		return out, nil
	}
	if out == nil {
		out = map[string]any{}
	}
	if was, is := out["iss"]; is && was != f.issuer {
		return nil, fmt.Errorf("--issuer %q: --claims says another one, %v: leave one out", f.issuer, was)
	}
	out["iss"] = f.issuer
	return out, nil
}
