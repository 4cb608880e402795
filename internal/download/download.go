// Package download gets texts of which the digest is known, bounded in size and time.
//
//	http://, https://        the text itself, or a file in an archive
//	oci://, oci+http://      a layer of an artifact in a registry, or a file in one
package download

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Limits of one download.
const (
	patience  = time.Minute      // for all of it
	connect   = 10 * time.Second // for a connection, or its TLS
	redirects = 5
	headers   = 64 << 10
)

// A Getter gets texts.
type Getter struct{ client *http.Client }

// New makes a Getter that connects to addresses which may be called; nil: Public.
func New(may func(netip.Addr) error) *Getter {
	if may == nil {
		may = Public
	}
	dialer := &net.Dialer{Timeout: connect, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return may(at.Addr().Unmap())
	}}
	return &Getter{&http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: connect, ResponseHeaderTimeout: patience, MaxResponseHeaderBytes: headers,
			IdleConnTimeout: connect, MaxConnsPerHost: 2, DisableCompression: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities()},
		},
		CheckRedirect: follow,
	}}
}

// Public refuses addresses of the machine itself and of its link, where a cloud tells of its secrets.
func Public(a netip.Addr) error {
	if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return fmt.Errorf("%s is an address of the operator's own machine or link, which is not called", a)
	}
	return nil
}

// authorities are those of the system, if it has some, and those that browsers trust.
func authorities() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // one that this Go does not read is not trusted
		case root.Constraint != nil:
			pool.AddCertWithConstraint(certificate, root.Constraint)
		default:
			pool.AddCert(certificate)
		}
	}
	return pool
}

func follow(to *http.Request, via []*http.Request) error {
	switch {
	case len(via) > redirects:
		return fmt.Errorf("it redirects more than %d times", redirects)
	case via[0].URL.Scheme == "https" && to.URL.Scheme != "https":
		return errors.New("it redirects from HTTPS to HTTP")
	}
	return nil
}

// A Mismatch is an error of what was got, which is not what was asked for.
type Mismatch struct{ problem string }

func (m Mismatch) Error() string { return m.problem }

// Get returns the text at a URL, or in what is there, that has a digest of SHA-256, in hexadecimal, and so many bytes at
// most. The error's words follow the URL.
func (g *Getter) Get(ctx context.Context, url, digest string, most int64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := &search{digest: strings.ToLower(digest), most: most, left: maxUnpacked}
	if reference, is := strings.CutPrefix(url, OCI); is {
		return g.pull(ctx, reference, false, s)
	}
	if reference, is := strings.CutPrefix(url, PlainOCI); is {
		return g.pull(ctx, reference, true, s)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", Mismatch{"is no URL"}
	}
	response, err := g.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("cannot be fetched: %w", reason(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("cannot be fetched: its server answers %d", response.StatusCode)
	}
	if isArchive(request.URL.Path) {
		return s.archive(response)
	}
	return s.whole(response)
}

// isArchive goes by the names that bundles have.
func isArchive(path string) bool {
	return strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz") || strings.HasSuffix(path, ".tar")
}

// whole is what is served as it is.
func (s *search) whole(response *http.Response) (string, error) {
	if response.ContentLength > s.most {
		return "", tooLarge(s.most)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, s.most+1))
	switch sum := sha256.Sum256(body); {
	case err != nil:
		return "", fmt.Errorf("cannot be fetched: %w", reason(err))
	case int64(len(body)) > s.most:
		return "", tooLarge(s.most)
	case hex.EncodeToString(sum[:]) != s.digest:
		return "", Mismatch{fmt.Sprintf("has the SHA-256 digest %x: set that one in sha256 if it is the right module, or mend the URL", sum)}
	}
	return string(body), nil
}

// archive is a file of what is served.
func (s *search) archive(response *http.Response) (string, error) {
	if response.ContentLength > maxArchive {
		return "", tooLarge(maxArchive)
	}
	text, found, err := s.unpack(io.LimitReader(response.Body, maxArchive))
	if err == nil && !found {
		err = s.nothing()
	}
	return text, err
}

func tooLarge(most int64) error {
	return Mismatch{fmt.Sprintf("has more than %d bytes", most)}
}

// reason is why a request failed, without the method and the URL.
func reason(err error) error {
	var of interface{ Unwrap() error }
	if errors.As(err, &of) {
		if inner := of.Unwrap(); inner != nil {
			return inner
		}
	}
	return err
}
