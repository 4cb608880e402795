package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/cluster"
)

const (
	authzComponent = "authz" // of the pods of weft authz
	queryPort      = "15013"
	forwardTimeout = 20 * time.Second
)

// askAuthz forwards a port of the pod that proxies tell: of those of weft authz that are ready, the oldest.
func askAuthz(ctx context.Context, do func(query.Client) error) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	known := runtime.NewScheme()
	if err := corev1.AddToScheme(known); err != nil {
		return fmt.Errorf("register kinds: %w", err)
	}
	c, err := client.New(config, client.Options{Scheme: known})
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(v1alpha1.SystemNamespace), client.MatchingLabels{"app.kubernetes.io/component": authzComponent}); err != nil {
		return fmt.Errorf("find the pod of weft authz: %w", err)
	}
	pod, found := oldestReady(pods.Items)
	if !found {
		return errors.New("no pod of weft authz is ready in weft-system: install it with dist/authz.yaml, and write spec.decisionLog into Mesh default: docs/decisions.md")
	}
	return forward(ctx, config, pod, do)
}

func oldestReady(pods []corev1.Pod) (name string, found bool) {
	ready := slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || !cluster.Ready(&p)
	})
	if len(ready) == 0 {
		return "", false
	}
	return slices.MinFunc(ready, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) }).Name, true
}

// forward has a port of this machine lead to a pod's loopback address, as kubectl port-forward does.
func forward(ctx context.Context, config *rest.Config, pod string, do func(query.Client) error) error {
	dialer, err := dialerTo(config, pod)
	if err != nil {
		return fmt.Errorf("forward a port of pod %s/%s: %w", v1alpha1.SystemNamespace, pod, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"}, []string{"0:" + queryPort}, ready, io.Discard, io.Discard)
	if err != nil {
		return fmt.Errorf("forward a port of pod %s/%s: %w", v1alpha1.SystemNamespace, pod, err)
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("forward a port of pod %s/%s: %w: who asks needs the right to create pods/portforward there", v1alpha1.SystemNamespace, pod, err)
	case <-time.After(forwardTimeout):
		return fmt.Errorf("forward a port of pod %s/%s: not within %s", v1alpha1.SystemNamespace, pod, forwardTimeout)
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		return fmt.Errorf("forward a port of pod %s/%s: %w", v1alpha1.SystemNamespace, pod, errors.Join(err, errors.New("none was")))
	}
	return do(query.Client{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local), HTTP: &http.Client{Timeout: forwardTimeout}})
}

// dialerTo speaks as API servers do now, and as they did where that is not understood.
func dialerTo(config *rest.Config, pod string) (httpstream.Dialer, error) {
	of := rest.CopyConfig(config)
	of.APIPath, of.GroupVersion, of.NegotiatedSerializer = "/api", &corev1.SchemeGroupVersion, scheme.Codecs.WithoutConversion()
	core, err := rest.RESTClientFor(of)
	if err != nil {
		return nil, err
	}
	at := core.Post().Namespace(v1alpha1.SystemNamespace).Resource("pods").Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	before := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	now, err := portforward.NewSPDYOverWebsocketDialerForStreaming(at, config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(now, before, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
