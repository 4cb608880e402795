package trafficmetrics

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/weft-mesh/weft/internal/prometheustest"
	"github.com/weft-mesh/weft/internal/smi/metrics"
)

const cart = "/apis/metrics.smi-spec.io/v1alpha1/namespaces/shop/deployments/cart"

// pair is a certificate and its key.
type pair struct {
	tls.Certificate
	leaf *x509.Certificate
}

// issue signs a certificate of that name with by, or with itself.
func issue(t *testing.T, name string, by *pair) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        by == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf}
}

// files writes the pair as PEM.
func (p *pair) files(t *testing.T) (certificate, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certificate, key = filepath.Join(folder, "crt"), filepath.Join(folder, "key")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: p.Certificate.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// stage is a real API server that passes on what it is asked of metrics.smi-spec.io.
type stage struct {
	*testing.T
	client.Client
	env       *envtest.Environment
	admin     *rest.Config
	authority *pair // of the API server, as a front proxy
	address   string
	source    *func() (Source, error)
}

// in is the same stage in a part of the test.
func (s *stage) in(t *testing.T) *stage {
	part := *s
	part.T = t
	return &part
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, authority: issue(t, "front-proxy-ca", nil), source: new(func() (Source, error)), env: &envtest.Environment{}}
	proxyCertificate, proxyKey := issue(t, "front-proxy-client", s.authority).files(t)
	authority, _ := s.authority.files(t)
	api := s.env.ControlPlane.GetAPIServer()
	api.Path = tool(t, "kube-apiserver")
	s.env.ControlPlane.Etcd = &envtest.Etcd{Path: tool(t, "etcd")}
	for flag, value := range map[string]string{
		"requestheader-client-ca-file": authority, "requestheader-allowed-names": "front-proxy-client",
		"requestheader-username-headers": "X-Remote-User", "requestheader-group-headers": "X-Remote-Group", "requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"proxy-client-cert-file": proxyCertificate, "proxy-client-key-file": proxyKey,
	} {
		api.Configure().Append(flag, value)
	}
	var err error
	if s.admin, err = s.env.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.env.Stop(); err != nil {
			t.Error(err)
		}
	})
	if s.Client, err = client.New(s.admin, client.Options{}); err != nil {
		t.Fatal(err)
	}
	s.serve()
	s.register()
	return s
}

// tool is the path of a program that the local cluster is made of; it is built when missing.
func tool(t *testing.T, name string) string {
	t.Helper()
	build := exec.Command("go", "run", ".", "tool", name)
	build.Dir = "../../e2e/cluster"
	build.Stderr = os.Stderr
	path, err := build.Output()
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return strings.TrimSpace(string(path))
}

// serve runs the Server until the test ends.
func (s *stage) serve() {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	s.address = listener.Addr().String()
	certificate := issue(s.T, "localhost", nil)
	server, err := New(Options{
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate.Certificate, nil },
		API:         s.admin,
		Source:      func(context.Context) (Source, error) { return (*s.source)() },
		Pods:        func(context.Context) ([]*corev1.Pod, error) { return nil, nil },
		Splits:      func(context.Context, string) ([]metrics.Split, error) { return nil, nil },
		Log:         testr.New(s.T),
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.serve(ctx, listener) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the server: %v", err)
		}
	})
}

// register has the API server pass on to this machine, which a Service of the type ExternalName is for.
func (s *stage) register() {
	s.Helper()
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.Fatal(err)
	}
	s.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "here"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}})
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		s.Fatal(err)
	}
	registration := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1alpha1.metrics.smi-spec.io"},
		"spec": map[string]any{
			"group": metrics.Group, "version": "v1alpha1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"insecureSkipTLSVerify": true, "service": map[string]any{"namespace": "shop", "name": "here", "port": number},
		},
	}}
	s.create(registration)
	s.eventually("the API is available", func() error {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(registration), registration); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(registration.Object, "status", "conditions")
		if len(conditions) == 1 && conditions[0].(map[string]any)["status"] == "True" {
			return nil
		}
		return fmt.Errorf("%v", conditions)
	})
}

func (s *stage) create(objects ...client.Object) {
	s.Helper()
	for _, o := range objects {
		if err := s.Create(s.Context(), o); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *stage) eventually(what string, holds func() error) {
	s.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = holds()
		return last == nil, nil
	})
	if err != nil {
		s.Fatalf("%s: %v", what, last)
	}
}

// user is a client of the API server by that name.
func (s *stage) user(name string) *rest.Config {
	s.Helper()
	user, err := s.env.AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		s.Fatal(err)
	}
	return user.Config()
}

// get asks the API server.
func (s *stage) get(by *rest.Config, path string) (int, string) {
	s.Helper()
	c, err := rest.HTTPClientFor(by)
	if err != nil {
		s.Fatal(err)
	}
	return s.do(c, http.MethodGet, strings.TrimSuffix(by.Host, "/")+path, nil)
}

// direct asks the Server itself, with a certificate or none, and says who asks.
func (s *stage) direct(certificate *pair, method, user, path string) (int, string) {
	s.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.Certificate}
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer c.CloseIdleConnections()
	return s.do(c, method, "https://"+s.address+path, http.Header{"X-Remote-User": {user}})
}

func (s *stage) do(c *http.Client, method, url string, header http.Header) (int, string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, url, nil)
	if err != nil {
		s.Fatal(err)
	}
	request.Header = header
	response, err := c.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// samples are 20 requests to the Deployment shop/cart in the last minutes, after 100 older ones.
func samples(now time.Time) string {
	const labels = `{namespace="shop",pod="cart-a",workload="cart",workload_kind="Deployment",reporter="destination",response_code="200"}`
	var live, total strings.Builder
	for ago := 900; ago >= 0; ago -= 15 {
		at, value := now.Unix()-int64(ago), 100
		if ago < 200 {
			value = 120
		}
		fmt.Fprintf(&live, "envoy_server_live%s 1 %d\n", labels, at)
		fmt.Fprintf(&total, "weft_requests_total%s %d %d\n", labels, value, at)
	}
	return live.String() + total.String() + "# EOF\n"
}

// TestServer has a real API server ask, for users who may and who may not, of a real Prometheus and of
// what is none.
func TestServer(t *testing.T) {
	s := newStage(t)
	full, empty := prometheustest.Stored(t, samples(time.Now())), prometheustest.Stored(t, "# EOF\n")
	viewer := s.user("viewer")
	s.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "viewer"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{metrics.Group}, Resources: []string{"deployments"}, Verbs: []string{"get"}}}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "viewer"},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "viewer"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "viewer"}}})
	*s.source = func() (Source, error) { return Source{URL: full}, nil }

	t.Run("who may is answered", func(t *testing.T) {
		s := s.in(t)
		s.eventually("the viewer may", func() error {
			if code, body := s.get(viewer, cart+"?t=5m"); code != 200 || !strings.Contains(body, `{"name":"success_count","value":"20"}`) {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		resources, err := discovery.NewDiscoveryClientForConfigOrDie(s.admin).ServerResourcesForGroupVersion(metrics.Group + "/v1alpha1")
		if err != nil || len(resources.APIResources) != len(metrics.Resources("v1alpha1").APIResources) {
			t.Errorf("%v %v", resources, err)
		}
	})
	t.Run("who may not is refused", s.refusals(viewer))
	t.Run("nobody but the API server is believed", s.strangers)
	t.Run("without figures", func(t *testing.T) {
		s := s.in(t)
		dead := httptest.NewServer(nil)
		dead.Close()
		for what, c := range map[string]struct {
			url, path string
			code      int
			says      string
		}{
			"no such Deployment":   {full, strings.Replace(cart, "cart", "other", 1), 404, "Deployment shop/other is not known to Prometheus"},
			"no Prometheus":        {"", cart, 503, "write its address into spec.metrics.prometheus.url"},
			"a Prometheus is down": {dead.URL, cart, 503, "connection refused. See that it runs"},
			"nothing is scraped":   {empty, cart, 503, "scrapes no proxy of Weft"},
			"what is none":         {"http://" + s.address, cart, 503, "See that it runs"},
			"another's answer":     {endless(t), cart, 503, "larger than 16 MiB"},
		} {
			*s.source = func() (Source, error) {
				if c.url == "" {
					return Source{}, errors.New("write its address into spec.metrics.prometheus.url")
				}
				return Source{URL: c.url}, nil
			}
			code, body := s.get(s.admin, c.path)
			var status metav1.Status
			if err := json.Unmarshal([]byte(body), &status); err != nil || code != c.code || int(status.Code) != c.code || !strings.Contains(status.Message, c.says) {
				t.Errorf("%s: %d %s (%v), want %d and %q", what, code, body, err, c.code, c.says)
			}
		}
	})
	t.Run("a token is for one Prometheus", s.token)
}

// refusals have the API server refuse, and pass what it lets through to the Server as the front proxy.
func (s *stage) refusals(viewer *rest.Config) func(t *testing.T) {
	proxy := issue(s.T, "front-proxy-client", s.authority)
	return func(t *testing.T) {
		s := s.in(t)
		for path, by := range map[string]*rest.Config{
			cart: s.user("nobody"), cart + "/edges": viewer, strings.Replace(cart, "/shop/", "/default/", 1): viewer, strings.TrimSuffix(cart, "/cart"): viewer,
		} {
			if code, body := s.get(by, path); code != 403 {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
		for _, c := range []struct {
			method, user, path string
			code               int
			says               string
		}{
			{"GET", "viewer", cart, 200, "TrafficMetrics"},
			{"GET", "viewer", cart + "/edges", 403, `User \"viewer\" cannot get resource \"deployments/edges\"`},
			{"GET", "nobody", cart, 403, `User \"nobody\" cannot get resource \"deployments\"`},
			{"GET", "viewer", strings.TrimSuffix(cart, "/cart"), 403, "cannot list"},
			{"GET", "viewer", "/apis/metrics.smi-spec.io/v1alpha1/namespaces/shop/edges", 403, `\"namespaces/edges\"`},
			{"GET", "nobody", "/metrics", 404, "there is no /metrics"},
			{"GET", "viewer", cart + "%22%7D", 400, "lower case"},
			{"DELETE", "viewer", cart, 405, "can only be read"},
		} {
			if code, body := s.direct(proxy, c.method, c.user, c.path); code != c.code || !strings.Contains(body, c.says) {
				t.Errorf("%s %s by %s: %d %s, want %d and %s", c.method, c.path, c.user, code, body, c.code, c.says)
			}
		}
	}
}

func (s *stage) strangers(t *testing.T) {
	s = s.in(t)
	for who, certificate := range map[string]*pair{
		"without a certificate":                nil,
		"by a certificate of its own":          issue(t, "front-proxy-client", nil),
		"by another of the API server's names": issue(t, "someone", s.authority),
	} {
		if code, body := s.direct(certificate, http.MethodGet, "viewer", cart); code != 401 {
			t.Errorf("%s: %d %s", who, code, body)
		}
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	if conn, err := tls.Dial("tcp", s.address, old); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken")
	}
}

// endless is a server whose answer has no end.
func endless(t *testing.T) string {
	filler := bytes.Repeat([]byte(" "), 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(filler); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// token has a Prometheus pass the request on to somebody else, who must not be shown the token.
func (s *stage) token(t *testing.T) {
	s = s.in(t)
	shown := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown <- "to another: " + r.Header.Get("Authorization") }))
	defer other.Close()
	named := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- "to the one named: " + r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer named.Close()
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: named.Certificate().Raw})
	*s.source = func() (Source, error) { return Source{URL: named.URL, Token: "secret", Roots: string(roots)}, nil }
	if code, body := s.get(s.admin, cart); code != 503 || strings.Contains(body, "secret") {
		t.Errorf("%d %s", code, body)
	}
	close(shown)
	var all []string
	for to := range shown {
		all = append(all, to)
	}
	if len(all) != 1 || all[0] != "to the one named: Bearer secret" {
		t.Errorf("the token is shown %q", all)
	}
}
