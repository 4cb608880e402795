package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/quota/rls"
	"github.com/weft-mesh/weft/internal/xds/tokenreview"
)

// quotas answers proxies about global rate limits. Every replica does, before it is ready: proxies ask the one
// that has been so longest.
type quotas struct {
	address string // empty or 0: nowhere
	server  *rls.Server
}

func newQuotas(mgr ctrl.Manager, address string, c *core.Core, reviews authentication.AuthenticationV1Interface) (quotas, error) {
	q := quotas{address: address}
	if address == "" || address == "0" {
		return q, nil
	}
	for _, collector := range rls.Collectors(c.Quota) {
		if err := metrics.Registry.Register(collector); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return q, fmt.Errorf("count what quotas decide: %w", err)
		}
	}
	q.server = rls.NewServer(rls.Options{
		Table:         c.Quota,
		Certificate:   (&KeyPair{Secrets: mgr.GetClient(), Name: systemName(XDSSecret)}).GetCertificate,
		Authenticator: tokenreview.Authenticator{Reviews: reviews.TokenReviews()},
		Asks:          c.Asks,
	})
	return q, nil
}

// listen begins to, and returns what answers until ctx ends.
func (q quotas) listen() (run func(ctx context.Context) error, err error) {
	if q.server == nil {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	l, err := net.Listen("tcp", q.address)
	if err != nil {
		return nil, fmt.Errorf("serve quotas: %w", err)
	}
	return func(ctx context.Context) error {
		defer context.AfterFunc(ctx, q.server.Stop)()
		return q.server.Serve(l)
	}, nil
}
