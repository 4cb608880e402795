package addons

import (
	"context"
	"fmt"
	"time"
)

const (
	webhookTimeout  = 3 * time.Minute
	webhookInterval = 250 * time.Millisecond
)

// probeIssuer is sent to the API server as a dry run: it is accepted once the
// webhook answers.
const probeIssuer = `apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: webhook-probe
  namespace: cert-manager
spec:
  selfSigned: {}
`

// untilAnswered repeats a dry run of a manifest until the API server accepts it.
func (i Installer) untilAnswered(ctx context.Context, manifest string) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	for {
		err := i.kubectl(ctx, manifest, "create", "--dry-run=server", "--filename=-")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cert-manager's webhook does not answer: %w", err)
		case <-time.After(webhookInterval):
		}
	}
}
