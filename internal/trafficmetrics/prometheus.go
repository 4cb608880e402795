package trafficmetrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/weft-mesh/weft/internal/smi/metrics"
)

// Source is where Prometheus answers, and how to be let in.
type Source struct {
	URL   string
	Token string // of a bearer; empty: none
	Roots string // PEM; empty: those of the system
}

var (
	errNothing  = errors.New("no proxy is scraped")
	errTooLarge = fmt.Errorf("an answer is larger than %d MiB: ask for one namespace, or one resource", answerBytes>>20)
)

// prometheus asks the one that the Mesh names now.
type prometheus struct {
	mu     sync.Mutex
	source Source
	client promv1.API
	idle   func() // closes idle connections of client
}

// ask has all queries answered for one moment. If the first has no answer, somebody must be scraped.
func (p *prometheus) ask(ctx context.Context, source Source, at time.Time, queries []string) ([][]metrics.Sample, error) {
	client, err := p.at(source)
	if err != nil {
		return nil, err
	}
	var answers [][]metrics.Sample
	for i, q := range queries {
		samples, err := query(ctx, client, q, at)
		if err != nil {
			return nil, err
		}
		answers = append(answers, samples)
		if i > 0 || len(samples) > 0 {
			continue
		}
		if anybody, err := query(ctx, client, metrics.Anybody, at); err != nil {
			return nil, err
		} else if len(anybody) == 0 {
			return nil, errNothing
		}
	}
	return answers, nil
}

func query(ctx context.Context, client promv1.API, text string, at time.Time) ([]metrics.Sample, error) {
	value, _, err := client.Query(ctx, text, at, promv1.WithTimeout(limit))
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("not within %s", limit)
		}
		return nil, err
	}
	vector, is := value.(model.Vector)
	if !is {
		return nil, fmt.Errorf("the answer is a %s, not a vector", value.Type())
	}
	var samples []metrics.Sample
	for _, sample := range vector {
		labels := make(map[string]string, len(sample.Metric))
		for name, text := range sample.Metric {
			labels[string(name)] = string(text)
		}
		samples = append(samples, metrics.Sample{Labels: labels, Value: float64(sample.Value)})
	}
	return samples, nil
}

// at is the client of a source. The one before is let go when another is named.
func (p *prometheus) at(source Source) (promv1.API, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil && p.source == source {
		return p.client, nil
	}
	transport, err := source.transport()
	if err != nil {
		return nil, err
	}
	client, err := promapi.NewClient(promapi.Config{Address: source.URL, Client: &http.Client{
		Transport:     bounded{transport, source.Token},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this one
	}})
	if err != nil {
		return nil, err
	}
	if p.idle != nil {
		p.idle()
	}
	p.source, p.client, p.idle = source, promv1.NewAPI(client), transport.CloseIdleConnections
	return p.client, nil
}

func (s Source) transport() (*http.Transport, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.Roots != "" {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(s.Roots)) {
			return nil, errors.New("the authority has no certificate in PEM")
		}
	}
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: limit / 2}).DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    limit / 2,
		MaxConnsPerHost:        atOnce,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: headerBytes,
		ForceAttemptHTTP2:      true,
	}, nil
}

// bounded shows the token, and reads no more of an answer than answerBytes, unpacked.
type bounded struct {
	http.RoundTripper
	token string
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = &boundedBody{response.Body, answerBytes}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}
