package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
)

// unread are the kinds on which it does not depend who may call whom.
var unread = map[string]bool{"Secret": true, "EndpointSlice": true, "Node": true, "Deployment": true, "Certificate": true}

// Snapshot is the mesh as its objects are now, for who asks who may call whom. It reads no Secret: of those that are
// named, certificates are taken to be in them.
func Snapshot(ctx context.Context, from client.Reader, s *runtime.Scheme) (*mesh.Mesh, error) {
	t, in := cluster.NewTables(), cluster.NewInbox()
	m := mesh.New(t)
	for _, k := range kinds(in, t) {
		gvk, err := k.of(s)
		if err != nil {
			return nil, fmt.Errorf("read the cluster: %w", err)
		}
		if unread[gvk.Kind] {
			continue
		}
		switch err := k.list(ctx, from, s); {
		case unserved(err) && gvk.Group == v1alpha1.GroupVersion.Group:
			return nil, fmt.Errorf("list %s: the cluster does not know the kind: is Weft installed there? See --kubeconfig", gvk.Kind)
		case unserved(err):
		case err != nil:
			return nil, fmt.Errorf("list %s in all namespaces: %w", gvk.Kind, err)
		}
	}
	changes := in.Take()
	t.Graph.Commit(func() {
		for _, change := range changes {
			change()
		}
		certified(t)
	})
	return m, nil
}

// unserved says whether a list failed because the API server does not have the kind.
func unserved(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// certified takes the Secrets that are named as certificates for such.
func certified(t *cluster.Tables) {
	good := func(namespace string, ref gwv1.SecretObjectReference) {
		if ref.Namespace != nil {
			namespace = string(*ref.Namespace)
		}
		key := namespace + "/" + string(ref.Name)
		t.Secrets.Set(key, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: string(ref.Name)}})
		t.GoodSecrets.Set(key, struct{}{})
	}
	named := func(namespace string, by *gwv1.ListenerTLSConfig) {
		if by == nil {
			return
		}
		for _, ref := range by.CertificateRefs {
			good(namespace, ref)
		}
	}
	t.Gateways.Each(func(_ string, g *gwv1.Gateway) {
		for _, l := range g.Spec.Listeners {
			named(g.Namespace, l.TLS)
		}
	})
	t.ListenerSets.Each(func(_ string, set *gwv1.ListenerSet) {
		for _, l := range set.Spec.Listeners {
			named(set.Namespace, l.TLS)
		}
	})
	t.MeshPolicies.Each(func(_ string, p *v1alpha1.MeshPolicy) {
		if p.Spec.ServerTLS == nil {
			return
		}
		for _, ref := range p.Spec.ServerTLS.CertificateRefs {
			good(p.Namespace, gwv1.SecretObjectReference{Name: gwv1.ObjectName(ref.Name)})
		}
	})
}

// list feeds what there is now.
func (f Feed[T, P]) list(ctx context.Context, from client.Reader, s *runtime.Scheme) error {
	gvk, err := f.of(s)
	if err != nil {
		return err
	}
	gvk.Kind += "List"
	made, err := s.New(gvk)
	if err != nil {
		return err
	}
	all, ok := made.(client.ObjectList)
	if !ok {
		return errors.New("it is no list")
	}
	if err := from.List(ctx, all); err != nil {
		return err
	}
	return meta.EachListItem(all, func(o runtime.Object) error {
		f.put(o)
		return nil
	})
}
