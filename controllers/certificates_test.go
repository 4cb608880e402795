package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/mesh"
)

// certificateStage is an API server, and Certificates that make there what is put in an outbox.
type certificateStage struct {
	*testing.T
	client.Client
	outbox  *cluster.Outbox[core.Certificates]
	gateway *gwv1.Gateway
}

func newCertificateStage(t *testing.T) *certificateStage {
	config := apiServer(t)
	installGatewayAPI(t, config)
	installCertManager(t, config)
	s := &certificateStage{T: t, Client: newClient(t, config), outbox: cluster.NewOutbox[core.Certificates]()}
	s.gateway = gatewayNamed("web", nil)
	create(t, s.Client, s.gateway)
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: s.Scheme(), Cache: CacheOptions(""), Metrics: server.Options{BindAddress: "0"}})
	if err == nil {
		err = mgr.Add(&Certificates{Client: mgr.GetClient(), Cache: mgr.GetCache(), Live: mgr.GetAPIReader(), Outbox: s.outbox, Events: mgr.GetEventRecorder("weft")})
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	return s
}

// want asks for one Certificate of the Gateway for each name, for these hosts.
func (s *certificateStage) want(hosts []string, names ...string) {
	of := core.Certificates{Gateway: "default/web"}
	for _, name := range names {
		of.Wanted = append(of.Wanted, mesh.Certificate{
			Namespace: "default", Name: name, Gateway: s.gateway, Issuer: mesh.Issuer{Kind: "ClusterIssuer", Name: "ca"}, DNSNames: hosts,
		})
	}
	s.outbox.Put("default/web", of)
}

// await waits until a Certificate is as it should be.
func (s *certificateStage) await(name string, holds func(*cmv1.Certificate) bool) *cmv1.Certificate {
	s.Helper()
	cert := &cmv1.Certificate{}
	var err error
	eventually(s.T, "Certificate "+name, func(ctx context.Context) bool {
		err = s.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, cert)
		return err == nil && holds(cert)
	}, func() string { return fmt.Sprintf("%v %+v", err, cert.Spec) })
	return cert
}

func (s *certificateStage) awaitGone(name string) {
	s.Helper()
	eventually(s.T, "the end of Certificate "+name, func(ctx context.Context) bool {
		return apierrors.IsNotFound(s.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &cmv1.Certificate{}))
	}, func() string { return "it is still there" })
}

func serves(hosts ...string) func(*cmv1.Certificate) bool {
	return func(c *cmv1.Certificate) bool { return strings.Join(c.Spec.DNSNames, ",") == strings.Join(hosts, ",") }
}

func TestCertificates(t *testing.T) {
	s := newCertificateStage(t)
	theirs := certificate(metav1.ObjectMeta{Namespace: "default", Name: "taken"}, cmv1.CertificateSpec{
		SecretName: "taken", DNSNames: []string{"theirs.example.com"}, IssuerRef: cmmeta.IssuerReference{Name: "theirs"},
	})
	create(t, s.Client, theirs)

	s.want([]string{"a.example.com"}, "kept", "dropped", "taken")
	made := s.await("kept", serves("a.example.com"))
	if !metav1.IsControlledBy(made, s.gateway) || made.Spec.SecretName != "kept" || made.Spec.IssuerRef.Kind != "ClusterIssuer" {
		t.Errorf("made %+v", made)
	}
	s.await("dropped", serves("a.example.com"))
	s.awaitTaken()
	s.await("taken", serves("theirs.example.com"))

	s.want([]string{"b.example.com"}, "kept", "taken")
	s.awaitGone("dropped")
	made = s.await("kept", serves("b.example.com"))

	made.Spec.DNSNames = []string{"drifted.example.com"}
	if err := s.Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	s.await("kept", serves("b.example.com"))

	if err := s.Delete(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	s.await("taken", serves("b.example.com"))

	s.want(nil)
	s.awaitGone("kept")
	s.awaitGone("taken")
}

// awaitTaken waits for the Event that says whose name is taken.
func (s *certificateStage) awaitTaken() {
	s.Helper()
	var all eventsv1.EventList
	eventually(s.T, "an Event", func(ctx context.Context) bool {
		if err := s.List(ctx, &all); err != nil {
			return false
		}
		for _, e := range all.Items {
			if e.Reason == "CertificateTaken" && e.Regarding.Name == "web" && strings.Contains(e.Note, "taken") {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%d other Events", len(all.Items)) })
}
