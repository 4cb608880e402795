// Command webhook runs cert-manager's admission webhook, whose main package is
// not part of the published module. The path of this module lets it import the
// internal package.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	config, err := options.NewWebhookConfiguration()
	if err != nil {
		return fmt.Errorf("make the default configuration: %w", err)
	}
	flags := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	options.AddConfigFlags(flags, config)
	if err := flags.Parse(os.Args[1:]); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	server, err := webhook.NewCertManagerWebhookServer(logs.Log, *config)
	if err != nil {
		return fmt.Errorf("make the server: %w", err)
	}
	return server.Run(ctx)
}
