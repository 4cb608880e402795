// Command weft is the service mesh and gateway: its operator and its tools.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/weft-mesh/weft/controllers"
)

// version is set by the linker.
var version = "dev"

// commands are what the first argument may be.
var commands = map[string]func(ctx context.Context, args []string) error{
	"authz":    authzCommand,
	"operator": operator,
	"redirect": redirectPod,
	"version":  printVersion,
	"why":      explain,
}

const usage = `Usage: weft <command> [flags]

  authz     remember what proxies decide about who may call what; verify and replay what was written down
  operator  run the controllers, the webhook and the xDS server
  redirect  send the TCP connections of a pod through its sidecar; its init container runs this
  version   print the version
  why       tell why a call is let in, or is not: by which policy and rule

weft <command> -h tells a command's flags.
`

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:], os.Stderr); err != nil {
		end := exit{1, err}
		if errors.As(err, &end); end.error != nil {
			fmt.Fprintln(os.Stderr, "weft:", end.error)
		}
		os.Exit(end.code)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		_, err := io.WriteString(stderr, usage)
		return err
	}
	command, known := commands[args[0]]
	if !known {
		return fmt.Errorf("unknown command %q: run weft help", args[0])
	}
	if err := command(ctx, args[1:]); !errors.Is(err, flag.ErrHelp) {
		return err
	}
	return nil
}

func printVersion(context.Context, []string) error {
	_, err := fmt.Printf("weft %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// settings are the flags of the operator.
type settings struct {
	xds, quota      string
	health, metrics string
	trafficMetrics  string
	image, revision string
	webhookPort     int
	elect           bool
	qps             float64
	burst           int
	log             zap.Options
}

func (s *settings) parse(args []string) error {
	flags := flag.NewFlagSet("weft operator", flag.ContinueOnError)
	flags.StringVar(&s.xds, "xds-address", ":15010", "where proxies connect")
	flags.StringVar(&s.quota, "quota-address", ":15011", "where proxies ask about global rate limits; 0 for nowhere: each then counts for itself")
	flags.StringVar(&s.health, "health-address", ":8081", "where /healthz and /readyz are served")
	flags.StringVar(&s.metrics, "metrics-address", ":8080", "where /metrics is served, by HTTPS, to clients that may get it; 0 for nowhere")
	flags.StringVar(&s.trafficMetrics, "traffic-metrics-address", ":9444", "where SMI's TrafficMetrics are served, by HTTPS, to the API server; 0 for nowhere")
	flags.StringVar(&s.image, "image", "", "of Weft, which the init containers of pods in the mesh run; by default that of the operator's own pod")
	flags.StringVar(&s.revision, "revision", "", "of this operator, which then is one beside one without a revision: it puts the pods labelled mesh.weft.dev/revision with it into the mesh and serves them, and leaves all else to the other")
	flags.IntVar(&s.webhookPort, "webhook-port", 9443, "where the API server asks about objects")
	flags.BoolVar(&s.elect, "leader-elect", true, "let one replica write")
	flags.Float64Var(&s.qps, "api-qps", 200, "requests to the API server in a second, on average")
	flags.IntVar(&s.burst, "api-burst", 400, "requests to the API server at once")
	withLog(flags, &s.log)
	withKubeconfig(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	return controllers.CheckRevision(s.revision)
}

// withLog adds the flags of the log of what runs in the cluster.
func withLog(flags *flag.FlagSet, o *zap.Options) {
	*o = zap.Options{TimeEncoder: zapcore.RFC3339NanoTimeEncoder, StacktraceLevel: zapcore.PanicLevel}
	o.BindFlags(flags)
}

func withKubeconfig(flags *flag.FlagSet) {
	if f := flag.Lookup("kubeconfig"); f != nil {
		flags.Var(f.Value, "kubeconfig", "of the cluster; by default that of the pod, $KUBECONFIG, or ~/.kube/config")
	}
}

// operator runs until ctx ends or leadership is lost.
func operator(ctx context.Context, args []string) error {
	var s settings
	if err := s.parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&s.log)))
	mgr, err := newManager(s)
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return fmt.Errorf("serve health: %w", err)
	}
	if s.image == "" {
		if s.image, err = controllers.OwnImage(ctx, mgr.GetAPIReader()); err != nil {
			return err
		}
	}
	if err := controllers.Setup(mgr, controllers.Ports{XDS: s.xds, Quota: s.quota, Webhook: s.webhookPort, TrafficMetrics: s.trafficMetrics}, s.image, s.revision); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version)
	return mgr.Start(ctx)
}

// +kubebuilder:rbac:groups="",namespace=weft-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// metricsAt serves metrics by HTTPS. Who may read them is asked of the API server.
func metricsAt(address string) metricsserver.Options {
	return metricsserver.Options{
		BindAddress: address, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }},
	}
}

// newManager makes the manager that everything is added to.
func newManager(s settings) (ctrl.Manager, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.QPS, config.Burst = float32(s.qps), s.burst
	lease, err := controllers.Lease(config)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                              scheme,
		Cache:                               controllers.CacheOptions(s.revision),
		LeaderElection:                      s.elect && s.revision == "", // one with a revision writes what is its own only
		LeaderElectionResourceLockInterface: lease,
		LeaderElectionReleaseOnCancel:       true,
		RenewDeadline:                       new(controllers.RenewDeadline),
		HealthProbeBindAddress:              s.health,
		Metrics:                             metricsAt(s.metrics),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return mgr, nil
}
