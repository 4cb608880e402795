package stories

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestTheAuthorityOfXDSIsReplaced renews the authority that proxies trust, then the certificate that
// the operator shows them, and has them connect anew. The operator is not restarted for it, no proxy
// is replaced, and no request fails.
func TestTheAuthorityOfXDSIsReplaced(t *testing.T) {
	c := &change{Scene: stage.New(t, "authority"), t: t, ca: stage.NewAuthority(t)}
	c.setUp()
	c.plain = load.Start(load.Target{Address: c.gateway.At(80), Host: "shop.test"}, 50)
	before := c.pods()

	c.Step("a new authority")
	old := c.system("weft-ca")
	c.renewSystem("weft-ca")
	c.Until(time.Minute, "the proxies' roots hold the new authority and the old", func(ctx context.Context) error {
		return c.rootsHold(ctx, old, c.system("weft-ca"))
	})

	c.Step("a new certificate of the xDS server")
	address := c.openWindow()
	c.renewSystem("weft-xds")
	authority := parse(t, c.system("weft-ca"))
	c.Until(time.Minute, "the operator shows a certificate of the new authority", func(context.Context) error {
		certificate, err := shown(address)
		if err != nil {
			return err
		}
		return certificate.CheckSignatureFrom(authority)
	})
	c.routes(3)

	c.Step("every proxy connects anew")
	c.must(c.Kill(t.Context(), stage.System, stage.Operator, rollout))
	c.routes(3)

	for _, r := range load.Failures(c.plain.Stop(), nil) {
		t.Errorf("%s %s: %s", r.Method, r.ID, r.Failed)
	}
	if after := c.pods(); after != before {
		t.Errorf("the proxies were %s, and are %s", before, after)
	}
}

// pods names the proxies and how often each was restarted.
func (c *change) pods() string {
	c.t.Helper()
	var all corev1.PodList
	c.must(c.List(c.t.Context(), &all, client.InNamespace(c.Namespace),
		client.MatchingLabels{"gateway.networking.k8s.io/gateway-name": "front"}))
	var out []string
	for _, p := range all.Items {
		out = append(out, fmt.Sprint(p.Name, " restarted ", p.Status.ContainerStatuses[0].RestartCount))
	}
	return strings.Join(out, ", ")
}

// system is the certificate in a Secret of Weft's own.
func (c *change) system(name string) []byte {
	c.t.Helper()
	var secret corev1.Secret
	c.must(c.Get(c.t.Context(), client.ObjectKey{Namespace: stage.System, Name: name}, &secret))
	return secret.Data[corev1.TLSCertKey]
}

// renewSystem renews one of Weft's own certificates, and waits until its Secret holds another.
func (c *change) renewSystem(name string) {
	c.t.Helper()
	var certificate cmv1.Certificate
	c.must(c.Get(c.t.Context(), client.ObjectKey{Namespace: stage.System, Name: name}, &certificate))
	secret := certificate.Spec.SecretName
	old := c.system(secret)
	renew(c.t, c.Scene, certificate)
	c.Until(time.Minute, "cert-manager renews "+name, func(context.Context) error {
		if bytes.Equal(c.system(secret), old) {
			return errors.New("it is the old one")
		}
		return nil
	})
}

// rootsHold looks whether the ConfigMap that the proxies mount holds some certificates.
func (c *change) rootsHold(ctx context.Context, wanted ...[]byte) error {
	var made corev1.ConfigMapList
	err := c.List(ctx, &made, client.InNamespace(c.Namespace), client.MatchingLabels{"gateway.networking.k8s.io/gateway-name": "front"})
	if err != nil || len(made.Items) != 1 {
		return fmt.Errorf("%d ConfigMaps of the Gateway, %w", len(made.Items), err)
	}
	for i, w := range wanted {
		if !strings.Contains(fmt.Sprint(made.Items[0].Data), strings.TrimSpace(string(w))) {
			return fmt.Errorf("certificate %d of %d is missing", i+1, len(wanted))
		}
	}
	return nil
}

// window shows the xDS port to the story.
const window = `
apiVersion: v1
kind: Service
metadata: {name: weft-xds-story}
spec:
  type: LoadBalancer
  selector: {app.kubernetes.io/name: weft, app.kubernetes.io/component: operator}
  ports: [{port: 15010}]
`

// openWindow makes the xDS port reachable from here while the story runs.
func (c *change) openWindow() (address string) {
	c.t.Helper()
	c.must(c.Stage.Apply(c.t.Context(), stage.System, window))
	c.t.Cleanup(func() { c.must(c.Stage.Remove(context.Background(), stage.System, window)) })
	c.Until(time.Minute, "the window has an address", func(ctx context.Context) error {
		var service corev1.Service
		if err := c.Get(ctx, client.ObjectKey{Namespace: stage.System, Name: "weft-xds-story"}, &service); err != nil {
			return err
		}
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("none yet")
		}
		address = net.JoinHostPort(service.Status.LoadBalancer.Ingress[0].IP, "15010")
		return nil
	})
	return address
}

// shown is the certificate that the operator shows at its xDS port.
func shown(address string) (*x509.Certificate, error) {
	// Only what it shows is looked at, so nothing needs to be trusted.
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func parse(t *testing.T, chain []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(chain)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
