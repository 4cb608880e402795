package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // in the image there are no others

	"github.com/weft-mesh/weft/internal/policy/jwt"
)

// fetchTimeout is how long a provider has to send its key set.
const fetchTimeout = 5 * time.Second

var fetcher = &http.Client{
	Timeout: fetchTimeout,
	Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           keySetWorkers,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetchKeySet gets what a URL names. Its errors have nothing of the answer but its status: who wrote the URL could
// else read by it what only the operator can reach.
func fetchKeySet(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", errors.New("is no URL")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := fetcher.Do(request)
	if err != nil {
		return "", reachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it is answered %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, jwt.MaxKeySet+1))
	if err != nil {
		return "", errors.New("the answer breaks off")
	}
	return string(text), nil
}

// reachable says why nothing was answered, in words that do not differ from one time to the next.
func reachable(err error) error {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("there is no host %s", name.Name)
	case errors.As(err, &certificate):
		return fmt.Errorf("its certificate is not trusted: %w", certificate.Err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("it does not answer within %s", fetchTimeout)
	}
	return errors.New("no connection is made")
}
