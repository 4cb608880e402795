package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// identity is the SPIFFE ID of an account of the scene.
func identity(s *stage.Scene, account string) string {
	return fmt.Sprintf("spiffe://cluster.local/ns/%s/sa/%s", s.Namespace, account)
}

// roots is what the Mesh says of its identities.
type roots struct {
	phase, issuer string
	trusted       []string
	waiting       []string
}

func (r roots) String() string {
	return fmt.Sprintf("phase %s, issuer %s, roots %v, waiting for %v", r.phase, r.issuer, r.trusted, r.waiting)
}

// theRoots reads the Mesh, which it makes where there is none.
func theRoots(ctx context.Context, s *stage.Scene) (r roots, mesh *unstructured.Unstructured, err error) {
	mesh = &unstructured.Unstructured{}
	mesh.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Mesh"))
	err = s.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, mesh)
	if apierrors.IsNotFound(err) {
		err = s.Stage.Apply(ctx, "", "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}}")
	}
	if err != nil {
		return r, mesh, err
	}
	r.phase, _, _ = unstructured.NestedString(mesh.Object, "status", "identity", "phase")
	r.issuer, _, _ = unstructured.NestedString(mesh.Object, "status", "identity", "issuer")
	r.trusted, _, _ = unstructured.NestedStringSlice(mesh.Object, "status", "identity", "rootsTrusted")
	r.waiting, _, _ = unstructured.NestedStringSlice(mesh.Object, "status", "identity", "waitingFor")
	return r, mesh, nil
}

// steady waits until no change of root is under way, and one root is trusted.
func steady(t *testing.T, s *stage.Scene, limit time.Duration) (now roots) {
	t.Helper()
	seen := ""
	s.Until(limit, "the roots are steady", func(ctx context.Context) (err error) {
		if now, _, err = theRoots(ctx, s); err != nil {
			return err
		}
		if now.phase != seen {
			s.Step("roots: %s", now)
			seen = now.phase
		}
		if now.phase != "Steady" || len(now.trusted) != 1 {
			return fmt.Errorf("%s", now)
		}
		return nil
	})
	return now
}

// TestOnlyWeftAsksTheMeshIssuer has others ask the mesh's issuer for an identity, in every way that
// cert-manager knows, with every right that RBAC can give.
func TestOnlyWeftAsksTheMeshIssuer(t *testing.T) {
	s := stage.NewMeshed(t, "issuer")
	now := steady(t, s, 2*time.Minute)
	kind, name, _ := strings.Cut(now.issuer, "/")
	if kind != cmv1.IssuerKind || name == "" {
		t.Fatalf("the issuer is %q, not the one that Weft makes", now.issuer)
	}
	wanted := identity(s, "victim")
	for _, who := range []string{"system:admin", "system:serviceaccount:" + s.Namespace + ":default"} {
		as := impersonated(t, s, who)
		for what, object := range map[string]client.Object{
			"a Certificate": &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: stage.System, Name: "stolen"},
				Spec: cmv1.CertificateSpec{SecretName: "stolen", URIs: []string{wanted}, IssuerRef: cmmeta.IssuerReference{Kind: kind, Name: name}}},
			"a CertificateRequest": &cmv1.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: stage.System, Name: "stolen"},
				Spec: cmv1.CertificateRequestSpec{Request: signingRequest(t, wanted), IssuerRef: cmmeta.IssuerReference{Kind: kind, Name: name}}},
			"a CertificateSigningRequest": &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace},
				Spec: certificatesv1.CertificateSigningRequestSpec{Request: signingRequest(t, wanted), Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
					SignerName: "issuers.cert-manager.io/" + stage.System + "." + name}},
		} {
			err := as.Create(t.Context(), object, client.DryRunAll)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "only Weft may") {
				t.Errorf("%s asks for %s: %v", who, what, err)
				continue
			}
			t.Logf("%s is refused %s: %v", who, what, err)
		}
	}
	free := &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "own"},
		Spec: cmv1.CertificateSpec{SecretName: "own", DNSNames: []string{"own.test"}, IssuerRef: cmmeta.IssuerReference{Kind: cmv1.IssuerKind, Name: name}}}
	if err := s.Create(t.Context(), free, client.DryRunAll); err != nil {
		t.Errorf("an issuer of the same name in another namespace is not the mesh's, and is refused: %v", err)
	}
}

// TestIdentitiesRotate renews the certificates of both ends, then replaces the root, while requests
// pass. None fails, and nothing is restarted. A connection of raw TCP stays open meanwhile, and is closed
// once the root that vouched for it has been retired.
func TestIdentitiesRotate(t *testing.T) {
	s := stage.NewMeshed(t, "rotate")
	s.OnThisMachine()
	meshShop(t, s, "polite", "drain", "", "IPv4")
	caller(t, s, "caller", false)
	echo(t, s, "echo", "declared", "{}")
	s.Rollout("polite")
	s.Rollout("echo")
	c := s.Caller("caller")
	c.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80"}, nil)
	before := steady(t, s, 2*time.Minute)
	alive := lives(s, "polite", "caller", "echo")
	long := heldTCP(t, s, before)
	c.Start(load.Target{Address: "polite:80", Host: "polite"}, 300)

	c.Step("certificates renewed")
	for range stage.Size(2, 5) {
		old := shownBy(t, s, "polite", "")
		for _, account := range []string{"polite", "caller", "echo"} {
			renewIdentity(t, s, account)
		}
		t.Logf("polite showed certificate %s, and shows %s", old, shownBy(t, s, "polite", old))
		c.Hold(300)
		answersOn(t, long)
	}
	for range stage.Size(1, 3) {
		c.Step("root replaced")
		before = replaceRoot(t, s, before, long)
		long = heldTCP(t, s, before)
		c.Hold(600)
		answersOn(t, long)
	}
	results := c.Stop()
	t.Logf("300 requests per second from pod to pod\n%s", load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
	}
	if now := lives(s, "polite", "caller", "echo"); now != alive {
		t.Errorf("the pods were %s, and are %s", alive, now)
	}
}

// replaceRoot changes the authority, and returns the roots after it. A connection which the one before it
// vouched for is open during the change, and closed after it.
func replaceRoot(t *testing.T, s *stage.Scene, before roots, long *call.Held) roots {
	t.Helper()
	nextAuthority(t, s)
	s.Until(time.Minute, "the change has begun", func(ctx context.Context) error {
		now, _, err := theRoots(ctx, s)
		if err == nil && now.phase == "Steady" && slices.Equal(now.trusted, before.trusted) {
			err = fmt.Errorf("%s", now)
		}
		return err
	})
	answersOn(t, long)
	after := steady(t, s, 5*time.Minute)
	if slices.Equal(after.trusted, before.trusted) || after.issuer == before.issuer {
		t.Errorf("after the change: %s; before it: %s", after, before)
	}
	took := s.Until(time.Minute, "a connection that the old root vouched for is closed", func(context.Context) error {
		_, err := long.Say("still there?")
		switch {
		case err == nil:
			return errors.New("it is answered")
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		return nil
	})
	s.Step("raw TCP was closed %s after the root was retired", took.Round(time.Second))
	return after
}

// heldTCP is a connection of raw TCP to the application echo, of a peer whose certificate is signed by the
// root of now.
func heldTCP(t *testing.T, s *stage.Scene, now roots) (held *call.Held) {
	t.Helper()
	own := meshAuthority(t, s, now).Peer(identity(s, "long"))
	s.Until(time.Minute, "a connection of raw TCP is open", func(ctx context.Context) (err error) {
		held, err = call.Open(ctx, call.Request{Protocol: call.Mesh, Address: at(s.Pod("echo").Status.PodIP, 9000), Certificate: own.Certificate, Key: own.Key})
		if err == nil {
			_, err = held.Say("hello")
		}
		return err
	})
	t.Cleanup(func() { held.Close() })
	return held
}

func answersOn(t *testing.T, held *call.Held) {
	t.Helper()
	if _, err := held.Say("still there?"); err != nil {
		t.Errorf("a connection of raw TCP ended: %v", err)
	}
}

// shownBy waits until an application's sidecar shows a certificate other than not, and returns its
// serial number. It must name the application's account and nothing else.
func shownBy(t *testing.T, s *stage.Scene, app, not string) (serial string) {
	t.Helper()
	pod := s.Pod(app)
	s.Until(time.Minute, app+" shows a certificate other than "+not, func(ctx context.Context) error {
		out := call.Do(ctx, call.Request{Protocol: call.Peek, Address: at(pod.Status.PodIP, 8080)})
		if err := out.Err(); err != nil {
			return err
		}
		if want := identity(s, app); !slices.Equal(out.Names, []string{want}) {
			return fmt.Errorf("it names %v, not %s alone", out.Names, want)
		}
		if out.Serial == not {
			return fmt.Errorf("it is %s", out.Serial)
		}
		serial = out.Serial
		return nil
	})
	return serial
}

// renewIdentity renews the certificate of an account of the scene.
func renewIdentity(t *testing.T, s *stage.Scene, account string) {
	t.Helper()
	var all cmv1.CertificateList
	if err := s.List(t.Context(), &all, client.InNamespace(stage.System)); err != nil {
		t.Fatal(err)
	}
	for _, certificate := range all.Items {
		if slices.Equal(certificate.Spec.URIs, []string{identity(s, account)}) {
			renew(t, s, certificate)
			return
		}
	}
	t.Fatalf("namespace %s has no Certificate for %s", stage.System, identity(s, account))
}

// nextAuthority has Weft replace its own authority.
func nextAuthority(t *testing.T, s *stage.Scene) {
	t.Helper()
	_, mesh, err := theRoots(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	revision, found, err := unstructured.NestedInt64(mesh.Object, "spec", "identity", "authorityRevision")
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		revision = 1
	}
	patch := fmt.Appendf(nil, `{"spec":{"identity":{"authorityRevision":%d}}}`, revision+1)
	if err := s.Patch(t.Context(), mesh, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
}

// TestTheAuthorityOfXDSIsReplacedTwiceBesideSidecars replaces the authority that sidecars know the
// operator by, and has them connect anew, twice, while requests pass.
func TestTheAuthorityOfXDSIsReplacedTwiceBesideSidecars(t *testing.T) {
	s := stage.NewMeshed(t, "authority")
	c := &change{Scene: s, t: t}
	meshShop(t, s, "polite", "drain", "", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("polite")
	from := s.Caller("caller")
	from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80"}, nil)
	alive := lives(s, "polite", "caller")
	address := c.openWindow()
	from.Start(load.Target{Address: "polite:80", Host: "polite"}, 300)
	for i := range 2 {
		from.Step(fmt.Sprintf("authority replaced, time %d", i+1))
		c.renewSystem("weft-ca")
		authority := c.system("weft-ca")
		s.Until(2*time.Minute, "the sidecars' roots hold the new authority", func(ctx context.Context) error {
			return anyConfigMapHolds(ctx, s, authority)
		})
		c.renewSystem("weft-xds")
		s.Until(time.Minute, "the operator shows a certificate of the new authority", func(context.Context) error {
			certificate, err := shown(address)
			if err != nil {
				return err
			}
			return certificate.CheckSignatureFrom(parse(t, authority))
		})
		c.must(c.Kill(t.Context(), stage.System, stage.Operator, rollout))
		// Only a sidecar that is connected again learns of a Service that is new.
		name := fmt.Sprintf("new-%d", i)
		echo(t, s, name, "declared", "{}")
		s.Rollout(name)
		from.Answered(call.Request{Protocol: call.HTTP, Address: name + ":80"}, bySidecar)
	}
	results := from.Stop()
	t.Logf("300 requests per second from pod to pod\n%s", load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
	}
	if now := lives(s, "polite", "caller"); now != alive {
		t.Errorf("the pods were %s, and are %s", alive, now)
	}
}

// anyConfigMapHolds looks for a certificate in what the pods of the scene can mount.
func anyConfigMapHolds(ctx context.Context, s *stage.Scene, certificate []byte) error {
	var all corev1.ConfigMapList
	if err := s.List(ctx, &all, client.InNamespace(s.Namespace)); err != nil {
		return err
	}
	for _, m := range all.Items {
		for _, data := range m.Data {
			if strings.Contains(data, strings.TrimSpace(string(certificate))) {
				return nil
			}
		}
	}
	return fmt.Errorf("none of %d ConfigMaps does", len(all.Items))
}
