package host

import (
	"context"
	"errors"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// SetLinks makes the link with the node's addresses and the routes by which the
// host reaches Services. What is there already is left alone.
func SetLinks(ctx context.Context) error {
	if _, err := output(ctx, "ip", "link", "show", layout.NodeLink); err != nil {
		if _, err := output(ctx, "ip", "link", "add", layout.NodeLink, "type", "bridge"); err != nil {
			return err
		}
	}
	for _, arguments := range [][]string{
		{"link", "set", layout.NodeLink, "up"},
		{"address", "replace", layout.NodeIPv4 + "/32", "dev", layout.NodeLink},
		{"address", "replace", layout.NodeIPv6 + "/128", "dev", layout.NodeLink, "nodad"},
		{"route", "replace", layout.ServicesV4, "dev", layout.NodeLink, "src", layout.NodeIPv4},
		{"route", "replace", layout.ServicesV6, "dev", layout.NodeLink, "src", layout.NodeIPv6},
		{"route", "replace", layout.PoolV4, "dev", layout.NodeLink, "src", layout.NodeIPv4},
		{"route", "replace", layout.PoolV6, "dev", layout.NodeLink, "src", layout.NodeIPv6},
	} {
		if _, err := output(ctx, "ip", arguments...); err != nil {
			return err
		}
	}
	return nil
}

// DeleteLinks deletes the cluster's links, and with them their routes.
func DeleteLinks(ctx context.Context) error {
	var errs []error
	for _, link := range []string{layout.PodBridge, layout.NodeLink} {
		if _, err := output(ctx, "ip", "link", "show", link); err != nil {
			continue
		}
		if _, err := output(ctx, "ip", "link", "delete", link); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
