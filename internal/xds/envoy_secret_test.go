package xds

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	envoytls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/weft-mesh/weft/internal/porttest"
)

// secret is a TLS certificate as Envoy gets it.
func secret(t *testing.T, name string, c *tls.Certificate) *envoytls.Secret {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	inline := func(kind string, der []byte) *core.DataSource {
		return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})}}
	}
	return &envoytls.Secret{Name: name, Type: &envoytls.Secret_TlsCertificate{TlsCertificate: &envoytls.TlsCertificate{
		CertificateChain: inline("CERTIFICATE", c.Certificate[0]), PrivateKey: inline("PRIVATE KEY", key)}}}
}

// secured is a listener that serves TLS with the secret of that name.
func secured(name string, port int, routes, secret string) *listener.Listener {
	l := gateway(name, port, routes)
	l.FilterChains[0].TransportSocket = &core.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &core.TransportSocket_TypedConfig{
		TypedConfig: packed(&envoytls.DownstreamTlsContext{CommonTlsContext: &envoytls.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*envoytls.SdsSecretConfig{{Name: secret, SdsConfig: ads()}}}})}}
	return l
}

// shown is the certificate that a listener shows, or nil.
func shown(port int) []byte {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

// Envoy gets its own scope's secret, and the next one of that name; it does not get another's,
// even if it is made to ask.
func TestEnvoySecrets(t *testing.T) {
	p := proxyWith(t)
	port, stolen := int(porttest.Free(t, 1)[0]), int(porttest.Free(t, 1)[0])
	first, second, other := certificate(t), certificate(t), certificate(t)
	theirs := Marshal("api", secret(t, "api", other))
	commit(p.store, func(w *world) { w.Resources[at(SecretType, "api")] = theirs }, see("api", SecretType, "api"))
	p.talk.take()
	p.commit(secured("own", port, "r", "web"), secret(t, "web", first), secured("stolen", stolen, "r", "api"))
	p.Until("it shows the first certificate", func() bool { return slices.Equal(shown(port), first.Certificate[0]) })
	p.commit(secret(t, "web", second))
	p.Until("it shows the second certificate", func() bool { return slices.Equal(shown(port), second.Certificate[0]) })
	lines := p.talk.take()
	if !slices.ContainsFunc(lines, func(l string) bool { return l == "> Secret +api +web" || l == "> Secret +api" }) {
		t.Errorf("Envoy did not ask for the other's secret: %q", lines)
	}
	for _, l := range sent(lines) {
		if l == "< Secret +api" || l == "< Secret +api +web" {
			t.Errorf("the server sent another's secret: %s", l)
		}
	}
	if got := shown(stolen); got != nil {
		t.Error("the listener that asks for another's secret serves a certificate")
	}
}
