// Command controller runs cert-manager's own controllers. The published module
// has no main package, and the controllers for Venafi need a module that the
// public proxy does not serve; all others are here.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	gatewayshim "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	listenersetshim "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/listenerset"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// workers is the number of goroutines for each controller.
const workers = 2

func main() {
	namespace := flag.String("cluster-resource-namespace", "cert-manager", "namespace of the Secrets of ClusterIssuers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *namespace); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, namespace string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("read the pod's API access: %w", err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a discovery client: %w", err)
	}
	gateways, err := gatewayAPIServed(client)
	if err != nil {
		return err
	}
	if !gateways {
		log.Print("Gateway API is not installed: the gateway shim starts when it is")
		go restartWithGatewayAPI(ctx, client)
	}
	if err := feature.DefaultMutableFeatureGate.Set("ListenerSets=true"); err != nil {
		return fmt.Errorf("switch on what cert-manager does for ListenerSets: %w", err)
	}
	return runControllers(ctx, options(namespace, gateways))
}

func options(namespace string, gateways bool) controller.ContextOptions {
	return controller.ContextOptions{
		KubernetesAPIQPS: 50, KubernetesAPIBurst: 100,
		ConfigOptions: controller.ConfigOptions{EnableGatewayAPI: gateways, EnableGatewayAPIListenerSet: gateways},
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: namespace},
		ACMEOptions:   controller.ACMEOptions{DNS01CheckRetryPeriod: 10 * time.Second},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
		IngressShimOptions: controller.IngressShimOptions{DefaultIssuerKind: "Issuer", DefaultIssuerGroup: "cert-manager.io"},
		SchedulerOptions:   controller.SchedulerOptions{MaxConcurrentChallenges: 60},
	}
}

func runControllers(ctx context.Context, options controller.ContextOptions) error {
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return fmt.Errorf("make the controllers' clients: %w", err)
	}
	root, err := factory.Build("controller")
	if err != nil {
		return fmt.Errorf("make the controllers' context: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		if (name == gatewayshim.ControllerName || name == listenersetshim.ControllerName) && !options.EnableGatewayAPI {
			continue
		}
		c, err := construct(factory)
		if err != nil {
			return fmt.Errorf("make controller %s: %w", name, err)
		}
		group.Go(func() error {
			if err := c.Run(workers, ctx); err != nil {
				return fmt.Errorf("run controller %s: %w", name, err)
			}
			return nil
		})
	}
	// Every constructor has registered its informers by now.
	root.SharedInformerFactory.Start(ctx.Done())
	root.KubeSharedInformerFactory.Start(ctx.Done())
	root.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if options.EnableGatewayAPI {
		root.GWShared.Start(ctx.Done())
	}
	return group.Wait()
}
