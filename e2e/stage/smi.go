package stage

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// InstallSMI applies dist/smi.yaml and waits until the API server serves SMI's kinds and knows by which
// authority the operator's webhook converts them.
func (s *Stage) InstallSMI(ctx context.Context) error {
	if err := s.ApplyFiles(ctx, filepath.Join(s.Root, "dist", "smi.yaml")); err != nil {
		return err
	}
	for _, group := range []string{split.GroupVersion.Group, specs.GroupVersion.Group, "access.smi-spec.io"} {
		if err := s.waitCRDs(ctx, group); err != nil {
			return err
		}
	}
	return Until(ctx, time.Minute, func(ctx context.Context) error {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := s.Get(ctx, client.ObjectKey{Name: "trafficsplits." + split.GroupVersion.Group}, &crd); err != nil {
			return err
		}
		if c := crd.Spec.Conversion; c == nil || c.Webhook == nil || len(c.Webhook.ClientConfig.CABundle) == 0 {
			return errors.New("cert-manager has not written caBundle yet")
		}
		return nil
	})
}

// SplitShows waits until a TrafficSplit shows each condition for its newest generation.
func (s *Scene) SplitShows(name string, wanted ...Condition) {
	s.t.Helper()
	s.Until(slow, "TrafficSplit "+name, func(ctx context.Context) error {
		var t split.TrafficSplit
		if err := s.Get(ctx, s.Key(name), &t); err != nil {
			return err
		}
		if t.Status.ObservedGeneration != t.Generation {
			return errors.New("its status is of an earlier generation")
		}
		return showsAll(wanted, t.Status.Conditions)
	})
}
