package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	gwapi "sigs.k8s.io/gateway-api/apis/v1"
)

const discoveryInterval = 5 * time.Second

func gatewayAPIServed(client discovery.DiscoveryInterface) (bool, error) {
	resources, err := client.ServerResourcesForGroupVersion(gwapi.GroupVersion.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether Gateway API is installed: %w", err)
	}
	served := map[string]bool{}
	for _, resource := range resources.APIResources {
		served[resource.Kind] = true
	}
	return served["Gateway"] && served["HTTPRoute"] && served["ListenerSet"], nil
}

// restartWithGatewayAPI waits for Gateway API's CRDs and then starts the program
// anew in the same process, as cert-manager looks for them only when it starts.
func restartWithGatewayAPI(ctx context.Context, client discovery.DiscoveryInterface) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(discoveryInterval):
		}
		served, err := gatewayAPIServed(client)
		if err != nil {
			log.Print(err)
		}
		if served {
			log.Print("Gateway API was installed: restarting with the gateway shim")
			log.Fatal(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
		}
	}
}
