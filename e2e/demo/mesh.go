package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// mesh puts the shop into the mesh under load: from then on the Gateway speaks mTLS to it, and
// nobody else is let in.
func (d *demo) mesh(ctx context.Context) error {
	err := d.underLoad(ctx, func(step func(string, func() error) error) error {
		return step("the shop joins the mesh", func() error { return d.join(ctx) })
	})
	if err != nil {
		return err
	}
	var mesh v1alpha1.Mesh
	err = stage.Until(ctx, time.Minute, func(ctx context.Context) error {
		if err := d.stage.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &mesh); err != nil {
			return err
		}
		if mesh.Status.Sidecars == nil || mesh.Status.Sidecars.Injected < 3 {
			return fmt.Errorf("the Mesh's status knows of fewer than 3 pods with a sidecar: %+v", mesh.Status.Sidecars)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.say("%d pods have a sidecar; the Gateway calls them by mTLS as spiffe://cluster.local/ns/shop/sa/web-weft", mesh.Status.Sidecars.Injected)
	return nil
}

// join labels the shop's namespace and has its pods made again, one after the other.
func (d *demo) join(ctx context.Context) error {
	shop := &corev1.Namespace{}
	shop.Name = "shop"
	label := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, sidecar.InjectLabel, sidecar.Enabled)
	if err := d.stage.Patch(ctx, shop, client.RawPatch(types.MergePatchType, []byte(label))); err != nil {
		return fmt.Errorf("label Namespace shop: %w", err)
	}
	for _, version := range []string{"blue", "green"} {
		if err := d.stage.Roll(ctx, "shop", version, 3*time.Minute); err != nil {
			return err
		}
	}
	return nil
}
