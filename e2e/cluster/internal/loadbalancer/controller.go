package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// retryInterval is how long a failed write of a status waits.
const retryInterval = time.Second

// Run allocates until the context ends.
func Run(ctx context.Context, kubeconfig string, pool *Pool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = -1, -1 // the server limits requests itself
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	}); err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), services.Informer().HasSynced) {
		return nil
	}
	controller{client: client, services: services.Lister(), pool: pool}.loop(ctx, changed)
	return nil
}

type controller struct {
	client   kubernetes.Interface
	services listers.ServiceLister
	pool     *Pool
}

func (c controller) loop(ctx context.Context, changed <-chan struct{}) {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-retry:
		}
		retry = nil
		if err := c.reconcile(ctx); err != nil {
			slog.Error("allocation is incomplete", "error", err)
			retry = time.After(retryInterval)
		}
	}
}

func (c controller) reconcile(ctx context.Context) error {
	services, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	var errs []error
	for _, change := range c.pool.Plan(services) {
		errs = append(errs, c.write(ctx, change))
	}
	return errors.Join(errs...)
}

func (c controller) write(ctx context.Context, change Change) error {
	name := change.Service.Namespace + "/" + change.Service.Name
	if change.Problem != "" {
		slog.Warn("no address", "service", name, "problem", change.Problem)
		if len(change.Service.Status.LoadBalancer.Ingress) == 0 {
			return nil
		}
	}
	service := change.Service.DeepCopy()
	service.Status.LoadBalancer = corev1.LoadBalancerStatus{Ingress: change.Ingress}
	_, err := c.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the watch brings the newer state
	}
	if err != nil {
		return fmt.Errorf("write the address of Service %s: %w", name, err)
	}
	slog.Info("address", "service", name, "ingress", addresses(change.Ingress))
	return nil
}

func addresses(ingress []corev1.LoadBalancerIngress) []string {
	var list []string
	for _, i := range ingress {
		list = append(list, i.IP)
	}
	return list
}
