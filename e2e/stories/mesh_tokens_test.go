package stories

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/stage"
)

// visitor is one who shows a token at the xDS port, and what it says that it is.
type visitor struct {
	name  string
	token string
	says  string // node id
}

// TestXDSGivesATokenItsOwnIdentityAndNoOther shows tokens of every kind at the xDS port.
func TestXDSGivesATokenItsOwnIdentityAndNoOther(t *testing.T) {
	s := stage.NewMeshed(t, "tokens")
	s.OnThisMachine()
	other := s.Beside("other")
	outside := s.Outside("outside")
	for _, scene := range []*stage.Scene{s, other, outside} {
		caller(t, scene, "caller", false)
	}
	own, foreign, stranger := s.Caller("caller").Pod, other.Caller("caller").Pod, outside.Caller("caller").Pod
	address := (&change{Scene: s, t: t}).openWindow()
	good := tokenOf(t, s, own, "weft", true)

	for _, v := range []struct {
		visitor
		want string
	}{
		{visitor{"a pod's own token", good, own.Name}, identity(s, "caller")},
		{visitor{"a pod's own token, saying that it is another pod", good, foreign.Namespace + "/" + foreign.Name}, identity(s, "caller")},
		{visitor{"the token of another namespace's pod", tokenOf(t, s, foreign, "weft", true), own.Name}, identity(other, "caller")},
		{visitor{"a token of the cluster's key", forged(t, s, own, time.Now().Add(time.Hour)), own.Name}, identity(s, "caller")},
	} {
		s.Until(time.Minute, v.name+" is given an identity", func(ctx context.Context) error {
			names, err := v.secrets(ctx, address)
			if err == nil && !slices.Equal(names, []string{v.want}) {
				t.Errorf("%s is given %v, not %s", v.name, names, v.want)
			}
			return err
		})
		t.Logf("%s: given %s", v.name, v.want)
	}

	gone := tokenOf(t, s, foreign, "weft", true)
	if err := s.Delete(t.Context(), &foreign, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	s.Until(time.Minute, "the other pod is gone", func(ctx context.Context) error {
		var now corev1.Pod
		if err := s.Get(ctx, client.ObjectKeyFromObject(&foreign), &now); client.IgnoreNotFound(err) != nil || now.UID == foreign.UID {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
	for _, v := range []visitor{
		{name: "a token of another audience", token: tokenOf(t, s, own, "api", true)},
		{name: "a token that is bound to no pod", token: tokenOf(t, s, own, "weft", false)},
		{name: "an expired token", token: forged(t, s, own, time.Now().Add(-time.Minute))},
		{name: "the token of a pod that is gone", token: gone},
		{name: "the token of a pod outside the mesh", token: tokenOf(t, s, stranger, "weft", true)},
		{name: "a word that is no token", token: "let-me-in"},
	} {
		names, err := v.secrets(t.Context(), address)
		if len(names) > 0 || err == nil {
			t.Errorf("%s is given %v", v.name, names)
		}
		t.Logf("%s: %v", v.name, err)
	}
}

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

// secrets asks for the identity as a proxy does, and returns the names in the certificates that come.
func (v visitor) secrets(ctx context.Context, address string) (names []string, err error) {
	// What is looked at is whom the server trusts, not whom this client does.
	secure := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(secure))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+v.token), 5*time.Second)
	defer cancel()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&discovery.DeltaDiscoveryRequest{Node: &corepb.Node{Id: v.says}, TypeUrl: secretType, ResourceNamesSubscribe: []string{"identity"}})
	if err != nil {
		return nil, err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if response.TypeUrl == secretType {
			return namesIn(response)
		}
	}
}

func namesIn(response *discovery.DeltaDiscoveryResponse) (names []string, err error) {
	for _, resource := range response.Resources {
		var secret tlspb.Secret
		if err := resource.Resource.UnmarshalTo(&secret); err != nil {
			return nil, err
		}
		block, _ := pem.Decode(secret.GetTlsCertificate().GetCertificateChain().GetInlineBytes())
		if block == nil {
			return nil, fmt.Errorf("secret %s holds no certificate", secret.Name)
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		for _, uri := range leaf.URIs {
			names = append(names, uri.String())
		}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no identity")
	}
	return names, nil
}

// tokenOf is a token of a pod's account, bound to the pod or not.
func tokenOf(t *testing.T, s *stage.Scene, pod corev1.Pod, audience string, bound bool) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if bound {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	got, err := s.Clients.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(t.Context(), pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Token
}

// forged is a pod's token signed with the cluster's own key: the API server makes none that is
// expired. Only of the local cluster is the key at hand.
func forged(t *testing.T, s *stage.Scene, pod corev1.Pod, expires time.Time) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(s.Kubeconfig), "pki", "service-accounts.key"))
	if err != nil {
		t.Fatalf("this story needs the local cluster's key: %v", err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var account corev1.ServiceAccount
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}, &account); err != nil {
		t.Fatal(err)
	}
	began := expires.Add(-2 * time.Hour)
	claims := map[string]any{
		"iss": "https://kubernetes.default.svc.cluster.local", "aud": []string{"weft"},
		"sub": "system:serviceaccount:" + pod.Namespace + ":" + account.Name,
		"exp": expires.Unix(), "iat": began.Unix(), "nbf": began.Unix(),
		"kubernetes.io": map[string]any{
			"namespace":      pod.Namespace,
			"pod":            map[string]any{"name": pod.Name, "uid": pod.UID},
			"serviceaccount": map[string]any{"name": account.Name, "uid": account.UID},
		},
	}
	token, err := signed(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signed is a JSON Web Token by RS256.
func signed(key *rsa.PrivateKey, claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return token + "." + encode(signature), err
}

// impersonated is a client of somebody else, who has every right that RBAC can give.
func impersonated(t *testing.T, s *stage.Scene, user string) client.Client {
	t.Helper()
	name := s.Namespace + "-" + strings.ReplaceAll(user, ":", "-")
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}}
	if err := s.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Delete(context.Background(), binding); err != nil {
			t.Error(err)
		}
	})
	config := rest.CopyConfig(s.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	as, err := client.New(config, client.Options{Scheme: s.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return as
}

// signingRequest is one for a SPIFFE ID, in PEM.
func signingRequest(t *testing.T, id string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{uri}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
