// Package conformance runs the official Gateway API conformance suite, unmodified, against Weft.
//
// For Gateways it runs every core test of their five profiles and the extended ones of every
// feature that the GatewayClass claims in its status; for the mesh, every test of the suite.
// WEFT_LONG=1 writes the reports to docs/conformance instead of bin/conformance. Flags of the suite work too: go test ./e2e/conformance -args -run-test=NAME
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	upstream "sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"github.com/weft-mesh/weft/e2e/stage"
)

// mostTimeToConsistency is the cap that the suite's rules put on a conformant implementation.
const mostTimeToConsistency = 30 * time.Second

func TestGatewayHTTP(t *testing.T) {
	s := prepare(t)
	options := defaults(t, s)
	options.GatewayClassName = stage.GatewayClass
	options.ConformanceProfiles = []suite.ConformanceProfileName{
		suite.GatewayHTTPConformanceProfileName, suite.GatewayGRPCConformanceProfileName, suite.GatewayTLSConformanceProfileName,
		suite.GatewayTCPConformanceProfileName, suite.GatewayUDPConformanceProfileName,
	}
	if s.Local {
		options.UsableNetworkAddresses, options.UnusableNetworkAddresses = localAddress, foreignAddress
	}
	run(t, s, options)
}

// What GatewayStaticAddresses asks for on the local cluster: one of the last that its load balancer gives by
// itself, and one that is nobody's (RFC 5737). For another cluster they are -usable-address and
// -unusable-address.
var (
	localAddress   = []gwv1.GatewaySpecAddress{{Type: new(gwv1.IPAddressType), Value: "10.242.0.250"}}
	foreignAddress = []gwv1.GatewaySpecAddress{{Type: new(gwv1.IPAddressType), Value: "192.0.2.1"}}
)

// defaults are the suite's own, with its flags, for the stage.
func defaults(t *testing.T, s *stage.Stage) suite.ConformanceOptions {
	t.Helper()
	t.Setenv("KUBECONFIG", s.Kubeconfig)
	options := upstream.DefaultOptions(t)
	options.Implementation = confv1.Implementation{
		Organization: "weft-mesh", Project: "weft", URL: "https://github.com/weft-mesh/weft",
		Version: "v0.1.0", Contact: []string{"https://github.com/weft-mesh/weft/issues"},
	}
	return options
}

// run runs the suite, and writes its report and what every single test came to.
func run(t *testing.T, s *stage.Stage, options suite.ConformanceOptions) *results {
	t.Helper()
	if options.TimeoutConfig.MaxTimeToConsistency > mostTimeToConsistency {
		t.Fatalf("MaxTimeToConsistency is %s: at most %s is conformant", options.TimeoutConfig.MaxTimeToConsistency, mostTimeToConsistency)
	}
	if len(options.SkipTests) > 0 || len(options.ExemptFeatures) > 0 || options.AllowCRDsMismatch {
		t.Fatal("tests or features are left out: conformance is shown by the whole suite only")
	}
	channel, err := s.Channel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole := options.RunTest == ""
	name := filepath.Join(folder(t, s), channel+"-"+consts.BundleVersion+"-"+options.Mode)
	if whole {
		options.ReportOutputPath = name + "-report.yaml"
	}
	results := &results{began: time.Now()}
	options.Hook = results.add
	t.Cleanup(func() {
		if whole {
			results.write(t, name+"-tests.txt")
		}
	})
	upstream.RunConformanceWithOptions(t, options)
	return results
}

// folder is where the report goes.
func folder(t *testing.T, s *stage.Stage) string {
	t.Helper()
	path := filepath.Join(s.Root, "bin", "conformance")
	if stage.Long() {
		path = filepath.Join(s.Root, "docs", "conformance")
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// prepare makes the cluster ready and, for the local one, the images that the suite's manifests name.
func prepare(t *testing.T) *stage.Stage {
	t.Helper()
	ctx := t.Context()
	s, err := stage.Open(ctx)
	if err == nil {
		err = s.Prepare(ctx)
	}
	if err == nil && s.Local {
		err = errors.Join(loadImages(ctx, s), s.Apply(ctx, "", smallProxies))
	}
	if err == nil {
		err = forget(ctx, s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forget removes what a run that was killed left behind.
func forget(ctx context.Context, s *stage.Stage) error {
	return stage.Until(ctx, 3*time.Minute, func(ctx context.Context) error {
		var left corev1.NamespaceList
		if err := s.List(ctx, &left, client.HasLabels{"gateway-conformance"}); err != nil {
			return err
		}
		for _, namespace := range left.Items {
			if err := s.Delete(ctx, &namespace); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		if len(left.Items) > 0 {
			return fmt.Errorf("%d namespaces of an earlier run are being deleted", len(left.Items))
		}
		return nil
	})
}

// smallProxies fits the suite's Gateways, up to nine at a time, on a node of two cores.
const smallProxies = `
apiVersion: mesh.weft.dev/v1alpha1
kind: Mesh
metadata:
  name: default
spec:
  gateways:
    resources:
      requests: {cpu: 10m, memory: 64Mi}
`

// loadImages builds the suite's echo server from the source in its module, puts our stand-in in the
// place of the one without source, and gives the local cluster's own CoreDNS the name that the
// manifests want.
func loadImages(ctx context.Context, s *stage.Stage) error {
	echo := "registry.k8s.io/gateway-api/echo-basic:"
	err := s.LoadProgram(ctx, "sigs.k8s.io/gateway-api/conformance/echo-basic",
		echo+"v1.5.1", echo+"v1.6.0-dev.2", echo+"v1.6.0-dev.3")
	if err != nil {
		return err
	}
	if err := loadEchoAdvanced(ctx, s); err != nil {
		return err
	}
	coredns, err := s.Cluster(ctx, "tool", "coredns")
	if err != nil {
		return fmt.Errorf("find CoreDNS: %w", err)
	}
	return s.LoadBinary(ctx, "registry.k8s.io/coredns/coredns:v1.12.2", coredns, "--user", "0:0")
}

// loadEchoAdvanced gives one program the two names that it is called by.
func loadEchoAdvanced(ctx context.Context, s *stage.Stage) error {
	dir, err := os.MkdirTemp("", "weft-echo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := s.BuildProgram(ctx, "./e2e/apps/echo-advanced", dir)
	if err != nil {
		return err
	}
	return s.LoadBinary(ctx, "registry.k8s.io/gateway-api/echo-advanced:v1.5.1", binary+"=/usr/local/bin/server",
		"--binary", binary+"=/usr/local/bin/client")
}
