package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/smi/metrics"
	"github.com/weft-mesh/weft/internal/trafficmetrics"
)

// What the server of TrafficMetrics is called, in weft-system.
const (
	trafficMetricsName   = "weft-traffic-metrics" // also that of the Service
	trafficMetricsSecret = "weft-traffic-metrics-tls"
)

// secretsPerSecond is how often the Secret of a Prometheus is read.
const secretsPerSecond = 10

// +kubebuilder:rbac:groups="",resources=pods;secrets;configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshes,verbs=get;list;watch

// setupTrafficMetrics serves SMI's TrafficMetrics at an address, in every replica.
func setupTrafficMetrics(mgr ctrl.Manager, address string) error {
	if address == "" || address == "0" {
		return nil
	}
	config := rest.CopyConfig(mgr.GetConfig()) // what is asked from outside takes nothing from the rest of the operator
	config.QPS, config.Burst = secretsPerSecond, 2*secretsPerSecond
	live, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("make a client of Secrets: %w", err)
	}
	from := figures{mgr.GetClient(), live}
	server, err := trafficmetrics.New(trafficmetrics.Options{
		Address:     address,
		Certificate: (&KeyPair{Secrets: mgr.GetClient(), Name: systemName(trafficMetricsSecret)}).GetCertificate,
		API:         mgr.GetConfig(),
		Source:      from.source,
		Pods:        from.pods,
		Splits:      from.splits,
		Log:         mgr.GetLogger().WithName("trafficmetrics"),
	})
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

// figures are what the server of TrafficMetrics reads of the cluster.
type figures struct {
	cached client.Reader
	live   client.Reader // the cache keeps no Secrets but certificates
}

// source is the Prometheus that the Mesh names. An error says what to write.
func (f figures) source(ctx context.Context) (s trafficmetrics.Source, err error) {
	var mesh v1alpha1.Mesh
	if err := f.cached.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &mesh); client.IgnoreNotFound(err) != nil {
		return s, fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	ref := mesh.Spec.Metrics.Prometheus
	if ref == nil {
		return s, errors.New("no Prometheus is named: write its address into spec.metrics.prometheus.url of Mesh default, and have it scrape the proxies with config/prometheus/scrape.yaml")
	}
	s.URL = ref.URL
	if ref.SecretRef == nil {
		return s, nil
	}
	var secret corev1.Secret
	if err := f.live.Get(ctx, systemName(ref.SecretRef.Name), &secret); err != nil {
		return s, fmt.Errorf("read the Secret that spec.metrics.prometheus.secretRef of Mesh default names: %w", err)
	}
	s.Token, s.Roots = string(secret.Data[corev1.ServiceAccountTokenKey]), string(secret.Data[corev1.ServiceAccountRootCAKey])
	if s.Token == "" && s.Roots == "" {
		return s, fmt.Errorf("the Secret %s that spec.metrics.prometheus.secretRef of Mesh default names has neither token nor ca.crt", ref.SecretRef.Name)
	}
	return s, nil
}

// pods are those of sidecars and of Gateways' proxies.
func (f figures) pods(ctx context.Context) (meshed []*corev1.Pod, err error) {
	var all corev1.PodList
	if err := f.cached.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	for i := range all.Items {
		if p := &all.Items[i]; sidecar.Injected(p) || p.Labels[gateway.ManagedByLabel] == gateway.ManagedBy {
			meshed = append(meshed, p)
		}
	}
	return meshed, nil
}

// splits are none where SMI's kinds are not installed.
func (f figures) splits(ctx context.Context, namespace string) (splits []metrics.Split, err error) {
	var all split.TrafficSplitList
	if err := f.cached.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		if meta.IsNoMatchError(err) {
			return nil, nil
		}
		return nil, err
	}
	for i := range all.Items {
		splits = append(splits, metrics.SplitOf(&all.Items[i]))
	}
	return splits, nil
}
