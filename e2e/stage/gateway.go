package stage

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Gateway is a Gateway of a scene with an address.
type Gateway struct {
	scene   *Scene
	Name    string
	Address string
}

// Gateway waits until a Gateway is programmed and has an address.
func (s *Scene) Gateway(name string) *Gateway {
	s.t.Helper()
	g := &Gateway{scene: s, Name: name}
	s.Until(3*time.Minute, "Gateway "+name+" is programmed", func(ctx context.Context) error {
		var gateway gwv1.Gateway
		if err := s.Get(ctx, s.Key(name), &gateway); err != nil {
			return err
		}
		if len(gateway.Status.Addresses) == 0 {
			return errors.New("status.addresses is empty; conditions: " + list(gateway.Status.Conditions))
		}
		if !meta.IsStatusConditionTrue(gateway.Status.Conditions, string(gwv1.GatewayConditionProgrammed)) {
			return errors.New("conditions: " + list(gateway.Status.Conditions))
		}
		g.Address = gateway.Status.Addresses[0].Value
		return nil
	})
	return g
}

// At is the host:port of one of the Gateway's ports.
func (g *Gateway) At(port int) string { return net.JoinHostPort(g.Address, strconv.Itoa(port)) }

// Answer is what came back for one request. The fields below Status are the shop's words.
type Answer struct {
	Status  int
	Header  http.Header
	Version string
	Pod     string
	Path    string
	Headers http.Header
	Serial  string // of the server's certificate
}

// Get sends GET http://host+path to port 80 over a connection of its own.
func (g *Gateway) Get(ctx context.Context, host, path string) (Answer, error) {
	return g.send(ctx, "http://"+host+path, g.At(80), nil, nil)
}

// GetWith is Get with headers.
func (g *Gateway) GetWith(ctx context.Context, host, path string, header http.Header) (Answer, error) {
	return g.send(ctx, "http://"+host+path, g.At(80), nil, header)
}

// GetTLS sends GET https://host+path to port 443 over a connection of its own.
func (g *Gateway) GetTLS(ctx context.Context, host, path string, secure *tls.Config) (Answer, error) {
	return g.send(ctx, "https://"+host+path, g.At(443), secure, nil)
}

func (g *Gateway) send(ctx context.Context, url, address string, secure *tls.Config, header http.Header) (Answer, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: secure, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second, CheckRedirect: stay}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	a := Answer{Status: response.StatusCode, Header: response.Header}
	if response.TLS != nil {
		a.Serial = response.TLS.PeerCertificates[0].SerialNumber.Text(16)
	}
	body, err := io.ReadAll(response.Body)
	if err == nil && response.Header.Get("Content-Type") == "application/json" {
		err = json.Unmarshal(body, &a)
	}
	return a, err
}

// stay makes redirects an answer like any other.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Answers waits until GET http://host+path is answered with status, and returns the time it took.
func (g *Gateway) Answers(limit time.Duration, host, path string, status int) time.Duration {
	g.scene.t.Helper()
	return g.scene.Until(limit, fmt.Sprintf("http://%s%s answers %d", host, path, status), func(ctx context.Context) error {
		a, err := g.Get(ctx, host, path)
		if err == nil && a.Status != status {
			err = fmt.Errorf("it answers %d", a.Status)
		}
		return err
	})
}
