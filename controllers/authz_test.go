package controllers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds/tokenreview"
)

// remembering is a weft authz at a real API server, with the rights that we ship.
type remembering struct {
	client.Client
	query query.Client
	tell  alsv3.AccessLogServiceClient
}

func startRemembering(t *testing.T) *remembering {
	t.Helper()
	config := apiServer(t)
	installMesh(t, config)
	r := &remembering{Client: newClient(t, config)}
	create(t, r, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	grant(t, r, filepath.Join("..", "config", "authz", "rbac.yaml"))
	own := rest.CopyConfig(config)
	own.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:weft-system:weft-authz", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(own, ctrl.Options{Scheme: scheme, Cache: AuthzCache(), HealthProbeBindAddress: "0", Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, roots := servesAs(t, "weft-authz")
	ports := porttest.Free(t, 3)
	a := Authz{
		Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), Query: fmt.Sprintf("127.0.0.1:%d", ports[1]), Check: fmt.Sprintf("127.0.0.1:%d", ports[2]), Records: 100, Bytes: 1 << 20,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil },
	}
	if err := a.Setup(mgr); err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	r.query = query.Client{URL: "http://" + a.Query, HTTP: http.DefaultClient}
	conn, err := grpc.NewClient(a.Address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "weft-authz"})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r.tell = alsv3.NewAccessLogServiceClient(conn)
	eventually(t, "it listens", func(context.Context) bool {
		c, err := net.Dial("tcp", a.Address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, func() string { return "nobody does" })
	return r
}

// grant applies what is in a file.
func grant(t *testing.T, c client.Client, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<10)
	for {
		var object unstructured.Unstructured
		if err := all.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		create(t, c, &object)
	}
}

func servesAs(t *testing.T, name string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{chain}, PrivateKey: key}, roots
}

// tokenOf is that of a new pod, for an audience.
func (r *remembering) tokenOf(t *testing.T, name, audience string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name + "-0"},
		Spec:       corev1.PodSpec{ServiceAccountName: name, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	create(t, r, account, pod)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if err := r.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// tells of a denial by a policy, with a token.
func (r *remembering) tells(t *testing.T, token, id string, by *v1alpha1.MeshPolicy) error {
	t.Helper()
	law := authz.Law{TrustDomain: "mesh.test", Levels: []authz.Level{{Name: "port", Policies: []authz.Policy{{Key: "shop/" + by.Name, Digest: authz.Digest(by.Spec.Authorization)}}}}}
	state, err := anypb.New(wrapperspb.String(fmt.Sprintf(`{"law":%q,"method":"POST","path":"/a"}`, law.Text())))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.tell.StreamAccessLogs(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{
		LogEntry: []*accessdatav3.HTTPAccessLogEntry{{
			CommonProperties: &accessdatav3.AccessLogCommon{FilterStateObjects: map[string]*anypb.Any{authz.State: state}},
			Request:          &accessdatav3.HTTPRequestProperties{RequestId: id},
			Response:         &accessdatav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(403), ResponseCodeDetails: "rbac_access_denied_matched_policy[none]"},
		}},
	}}}) // why it fails is told at the end
	_, err = stream.CloseAndRecv()
	return err
}

// TestAuthz: with the rights that we ship, what a pod's proxy tells is remembered, beside what the policy said: also when it
// says something else since, and when it is gone. Tokens for others than Weft are no use.
func TestAuthz(t *testing.T) {
	t.Parallel()
	r := startRemembering(t)
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "callers"}}
	p.Spec.Authorization = &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "reads", To: []v1alpha1.AuthorizationOperation{{Methods: []string{"GET"}}}}}}
	create(t, r, p)
	token := r.tokenOf(t, "cart", tokenreview.Audience)
	var found query.Found
	knows := func(id string) {
		t.Helper()
		eventually(t, "it knows what the policy said", func(ctx context.Context) bool {
			var err error
			found, err = r.query.Find(ctx, id)
			return err == nil && len(found.Records) == 1 && len(found.Policies) == 1
		}, func() string { return fmt.Sprintf("%+v", found) })
	}
	if err := r.tells(t, token, "1", p); err != nil {
		t.Fatal(err)
	}
	knows("1")
	if got := found.Records[0]; got.Proxy != (authz.Proxy{Namespace: "shop", Pod: "cart-0", ServiceAccount: "cart"}) || got.Verdict != authz.Denied {
		t.Errorf("%+v", got)
	}
	digest := authz.Digest(p.Spec.Authorization)
	p.Spec.Authorization.Rules[0].To[0].Methods = []string{"GET", "POST"}
	if err := r.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := r.tells(t, token, "2", p); err != nil {
		t.Fatal(err)
	}
	knows("2")
	if err := r.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	knows("1")
	if says := found.Policies[digest]; says == nil || len(says.Rules[0].To[0].Methods) != 1 {
		t.Errorf("%+v", found.Policies)
	}
	if err := r.tells(t, r.tokenOf(t, "web", "somebody-else"), "3", p); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
}
