// Package stage is the cluster on which the end-to-end tests and the demo play.
//
//	Open → the cluster of KUBECONFIG, or the local one of e2e/cluster
//	     → Prepare: Gateway API, Weft, the shop's image
//	     → Scene: one test's namespace, its objects, its Gateway, what it waits for
//
// A test without a cluster fails and says how to get one; it is never passed over.
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/api/smi"
	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Stage is one cluster.
type Stage struct {
	client.Client
	Clients    kubernetes.Interface // for what client.Client cannot do: logs, the Service proxy
	Config     *rest.Config
	Kubeconfig string
	Root       string // the repository
	Local      bool   // the cluster of e2e/cluster, into which images can be loaded

	record string // path of what the API server records of Weft's writes, once it was asked for
}

// errNoCluster says what to do about it.
var errNoCluster = errors.New("there is no cluster: set KUBECONFIG, or start the local one with `make cluster-up`")

// Open connects to the cluster.
func Open(ctx context.Context) (*Stage, error) {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	root, err := repository(ctx)
	if err != nil {
		return nil, err
	}
	s := &Stage{Root: root, Kubeconfig: os.Getenv("KUBECONFIG")}
	if s.Kubeconfig == "" {
		s.Local = true
		if s.Kubeconfig, err = s.Cluster(ctx, "kubeconfig"); err != nil {
			return nil, errors.Join(errNoCluster, err)
		}
	}
	return s, s.connect()
}

// unlimited: the tests create thousands of objects at once.
const unlimited = 2000

func (s *Stage) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return errors.Join(errNoCluster, err)
	}
	config.QPS, config.Burst = unlimited, unlimited
	s.Config = config
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, gwv1.Install, gwx.Install, cmv1.AddToScheme, v1alpha1.AddToScheme,
		smi.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if s.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return errors.Join(errNoCluster, err)
	}
	if s.Clients, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if _, err := s.Clients.Discovery().ServerVersion(); err != nil {
		return errors.Join(errNoCluster, err)
	}
	return nil
}

// Cluster runs a command of the local cluster's tool and returns what it prints.
func (s *Stage) Cluster(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", append([]string{"run", "."}, args...)...)
	command.Dir = filepath.Join(s.Root, "e2e", "cluster")
	out, err := output(command)
	return strings.TrimSpace(out), err
}

// Kubectl runs kubectl against the stage: the local cluster's, or the one in PATH.
func (s *Stage) Kubectl(ctx context.Context, args ...string) (string, error) {
	tool := "kubectl"
	if s.Local {
		var err error
		if tool, err = s.Cluster(ctx, "tool", "kubectl"); err != nil {
			return "", err
		}
	}
	command := exec.CommandContext(ctx, tool, args...)
	command.Dir = s.Root
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig)
	return output(command)
}

func repository(ctx context.Context) (string, error) {
	out, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/weft-mesh/weft"))
	return strings.TrimSpace(out), err
}

// output runs a command; what it wrote to standard error becomes part of the error.
func output(command *exec.Cmd) (string, error) {
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, complaint.String())
	}
	return string(out), nil
}

// Long says whether the stated sizes and durations are wanted (WEFT_LONG=1) or the short form.
func Long() bool { return os.Getenv("WEFT_LONG") == "1" }

// Size is long under WEFT_LONG=1, otherwise short.
func Size[T any](short, long T) T {
	if Long() {
		return long
	}
	return short
}

// Parallel lets a story that is at home in namespaces of its own play beside others, of which it waits for pods and
// time as they do. At full length each has the machine to itself.
func Parallel(t *testing.T) {
	if !Long() {
		t.Parallel()
	}
}

// must ends a test for which the stage cannot be made.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
