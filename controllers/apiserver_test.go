package controllers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// apiServer starts a real API server, on etcd, for one test.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	env := &envtest.Environment{}
	env.ControlPlane.GetAPIServer().Path = tool(t, "kube-apiserver")
	env.ControlPlane.Etcd = &envtest.Etcd{Path: tool(t, "etcd")}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("start the API server: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return config
}

// tools are the programs of the local cluster that an API server needs.
var tools = map[string]func() (string, error){"kube-apiserver": built("kube-apiserver"), "etcd": built("etcd")}

// built is the path of a program that the local cluster is made of, which is built when missing. It is asked for once.
func built(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		build := exec.Command("go", "run", ".", "tool", name)
		build.Dir = "../e2e/cluster"
		build.Stderr = os.Stderr
		path, err := build.Output()
		return strings.TrimSpace(string(path)), err
	})
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := tools[name]()
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return path
}

// install adds the CRDs in a folder of a Go module, or in a folder of this one.
func install(t *testing.T, config *rest.Config, module, folder string) {
	t.Helper()
	root := ".."
	if module != "" {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			t.Fatalf("find module %s: %v", module, err)
		}
		root = strings.TrimSpace(string(dir))
	}
	_, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: []string{filepath.Join(root, folder)}, ErrorIfPathMissing: true})
	if err != nil {
		t.Fatalf("install the CRDs of %s: %v", module, err)
	}
}

func installGatewayAPI(t *testing.T, config *rest.Config) {
	install(t, config, "sigs.k8s.io/gateway-api", "config/crd/standard")
}

func installCertManager(t *testing.T, config *rest.Config) {
	install(t, config, "github.com/cert-manager/cert-manager", "deploy/crds")
}

func installMesh(t *testing.T, config *rest.Config) { install(t, config, "", "config/crd/bases") }

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until holds is true, and fails with what describe says when it is not.
func eventually(t *testing.T, what string, holds func(ctx context.Context) bool, describe func() string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		return holds(ctx), nil
	})
	if err != nil {
		t.Fatalf("%s: not within %s: %s", what, patience, describe())
	}
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		if err := c.Create(t.Context(), obj); err != nil {
			t.Fatalf("create %T %s: %v", obj, keyOf(obj), err)
		}
	}
}

// run starts a manager, and stops it when the test ends.
func run(t *testing.T, mgr ctrl.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the manager: %v", err)
		}
	})
}
