package node

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

func newNode(t *testing.T) Node {
	t.Helper()
	return New(layout.Layout{State: t.TempDir(), Cache: t.TempDir()})
}

func readCertificate(t *testing.T, n Node, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(n.pki(name))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestPrepareMakesTrustedServers(t *testing.T) {
	n := newNode(t)
	if err := n.Prepare(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCertificate(t, n, "ca.crt"))
	for file, name := range map[string]string{
		"apiserver.crt": "kubernetes.default.svc", "kubelet.crt": layout.NodeIPv6, "apiserver-kubelet-client.crt": "",
	} {
		options := x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := readCertificate(t, n, file).Verify(options); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := readCertificate(t, n, "front-proxy-client.crt").Verify(x509.VerifyOptions{Roots: roots}); err == nil {
		t.Error("the aggregation layer's client is trusted by the cluster's CA: any client could name its user")
	}
}

func TestPrepareWritesUsableKubeconfigs(t *testing.T) {
	n := newNode(t)
	if err := n.Prepare(); err != nil {
		t.Fatal(err)
	}
	tokens, err := os.ReadFile(n.pki("tokens.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		config, err := clientcmd.BuildConfigFromFlags("", n.Layout.Path(a.file))
		if err != nil {
			t.Fatal(err)
		}
		if line := config.BearerToken + "," + a.user; !strings.Contains(string(tokens), line) {
			t.Errorf("the API server does not know the token of %s", a.user)
		}
	}
}

func TestOnlyACompleteClusterIsUsable(t *testing.T) {
	n := newNode(t)
	wantUsable := func(want bool) {
		t.Helper()
		if usable, err := n.Usable(); err != nil || usable != want {
			t.Errorf("Usable = %v, %v; want %v", usable, err, want)
		}
	}
	wantUsable(false)
	if err := writePKI(n.Layout); err != nil {
		t.Fatal(err)
	}
	wantUsable(false) // as after a run killed in the middle of Prepare
	if err := n.Prepare(); err != nil {
		t.Fatal(err)
	}
	wantUsable(true)
	if err := n.Layout.Write([]byte("another boot"), "boot"); err != nil {
		t.Fatal(err)
	}
	wantUsable(false)
}

func TestCNIConfigIsValidForBothFamilies(t *testing.T) {
	n := newNode(t)
	if err := n.writeContainerdConfig(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(n.Layout.Path("cni", "10-weft.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Name    string
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if config.Name != cniNetwork || len(config.Plugins) != 2 || len(config.Plugins[0].IPAM.Ranges) != 2 {
		t.Errorf("configuration is %+v", config)
	}
}

func TestReachableResolversDropsLoopback(t *testing.T) {
	const file = "# comment\nsearch example.com\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.53\nnameserver bad\n"
	const want = "# comment\nsearch example.com\nnameserver 192.0.2.53\n"
	if got := string(reachableResolvers([]byte(file))); got != want {
		t.Errorf("resolvers are %q, want %q", got, want)
	}
}
