package controllers

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/extensions"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/webhooks"
)

// CacheOptions keep in memory only what Weft reads of the objects it watches. Kinds that the API server
// may not serve yet cannot be named here: a manager would not start without them. Revision is the
// operator's.
func CacheOptions(revision string) cache.Options {
	made := labels.SelectorFromSet(labels.Set{gateway.ManagedByLabel: gateway.ManagedBy})
	named := func(name string) cache.ByObject {
		return cache.ByObject{Field: fields.OneTermEqualSelector(metav1.ObjectNameField, name)}
	}
	return cache.Options{
		NewInformer:      newInformer,
		DefaultTransform: trimMeta,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:        {Transform: trimPod},
			&corev1.Node{}:       {Transform: trimNode},
			&corev1.Secret{}:     {Field: readSecrets, Transform: trimSecret},
			&corev1.ConfigMap{}:  {Transform: trimConfigMap},
			&appsv1.Deployment{}: {Transform: trimDeployment},
			&admissionv1.ValidatingWebhookConfiguration{}:   named(webhooks.Name),
			&admissionv1.MutatingWebhookConfiguration{}:     named(webhooks.Revised(webhooks.InjectorName, revision)),
			&admissionv1.ValidatingAdmissionPolicy{}:        {Label: made},
			&admissionv1.ValidatingAdmissionPolicyBinding{}: {Label: made},
		},
	}
}

// trimMeta drops who manages which field, and kubectl's copy of what was applied.
func trimMeta(obj any) (any, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return obj, nil // a tombstone
	}
	m.SetManagedFields(nil)
	if a := m.GetAnnotations(); a[corev1.LastAppliedConfigAnnotation] != "" {
		delete(a, corev1.LastAppliedConfigAnnotation)
	}
	return obj, nil
}

// What is kept of the conditions of every pod for which [cluster.SaysReady] holds, and of those for which
// [cluster.Ready] does, too.
var (
	saysReady = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	isReady   = append(saysReady[:1:1], corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
)

// trimPod keeps who and where a pod is and, of one in the mesh, what its sidecar must know of it.
func trimPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	trimmed := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: trimOwner(pod),
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, ServiceAccountName: pod.Spec.ServiceAccountName, HostNetwork: pod.Spec.HostNetwork,
		},
		Status: corev1.PodStatus{
			Phase: pod.Status.Phase, HostIP: pod.Status.HostIP, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs,
		},
	}
	switch {
	case cluster.Ready(pod):
		trimmed.Status.Conditions = isReady
	case cluster.SaysReady(pod):
		trimmed.Status.Conditions = saysReady
	}
	if !sidecar.Meshed(pod) {
		return trimmed, nil
	}
	for name, value := range pod.Annotations {
		if strings.HasPrefix(name, sidecar.AnnotationPrefix) {
			metav1.SetMetaDataAnnotation(&trimmed.ObjectMeta, name, value)
		}
	}
	trimmed.Spec.Containers = trimContainers(pod.Spec.Containers)
	trimmed.Spec.InitContainers = trimContainers(pod.Spec.InitContainers)
	return trimmed, nil
}

// trimOwner keeps which controller a pod is of.
func trimOwner(pod *corev1.Pod) []metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return nil
	}
	return []metav1.OwnerReference{{Kind: owner.Kind, Name: owner.Name, Controller: new(true)}}
}

func trimContainers(all []corev1.Container) (trimmed []corev1.Container) {
	for _, c := range all {
		trimmed = append(trimmed, corev1.Container{
			Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy,
			LivenessProbe: c.LivenessProbe, ReadinessProbe: c.ReadinessProbe, StartupProbe: c.StartupProbe, Lifecycle: c.Lifecycle,
		})
	}
	return trimmed
}

func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels},
		Spec:       corev1.NodeSpec{PodCIDR: node.Spec.PodCIDR, PodCIDRs: node.Spec.PodCIDRs},
		Status:     corev1.NodeStatus{Addresses: node.Status.Addresses},
	}, nil
}

// trimDeployment keeps what Weft made, and of others that they are there.
func trimDeployment(obj any) (any, error) {
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return obj, nil
	}
	if d.Labels[gateway.ManagedByLabel] != gateway.ManagedBy {
		d.Spec = appsv1.DeploymentSpec{}
	}
	d.Status = appsv1.DeploymentStatus{AvailableReplicas: d.Status.AvailableReplicas}
	return trimMeta(d)
}

// readSecrets leaves out the types of Kubernetes that Weft does not read, and releases of Helm. No selector says
// that a field is one of two.
var readSecrets = otherThan("type",
	corev1.SecretTypeOpaque, corev1.SecretTypeServiceAccountToken, corev1.SecretTypeDockercfg, corev1.SecretTypeDockerConfigJson,
	corev1.SecretTypeBasicAuth, corev1.SecretTypeSSHAuth, corev1.SecretTypeBootstrapToken, "helm.sh/release.v1")

func otherThan(field string, values ...corev1.SecretType) fields.Selector {
	var all []fields.Selector
	for _, v := range values {
		all = append(all, fields.OneTermNotEqualSelector(field, string(v)))
	}
	return fields.AndSelectors(all...)
}

// trimSecret empties what is of a type that Weft does not read.
func trimSecret(obj any) (any, error) {
	if s, ok := obj.(*corev1.Secret); ok && !slices.Contains(secretTypes, s.Type) {
		s.Data = nil
	}
	return trimMeta(obj)
}

// secretTypes are those of Secrets that Weft reads.
var secretTypes = []corev1.SecretType{corev1.SecretTypeTLS, v1alpha1.SecretTypeCredentials, v1alpha1.SecretTypeOIDCClient, v1alpha1.SecretTypeOIDCSession}

// configMapKeys are the keys of people's ConfigMaps whose values Weft reads: authorities, and
// what a parametersRef may hold.
var configMapKeys = map[string]bool{
	"ca.crt": true, "deployment": true, "podDisruptionBudget": true, "runtime": true, "service": true, "serviceAccount": true,
}

// These end the keys of scripts and of modules, which the section extensions of a MeshPolicy names.
const (
	scriptSuffix = ".lua"
	moduleSuffix = ".wasm"
)

// isKeySet says whether a key is one of a key set, which the section jwt of a MeshPolicy names.
func isKeySet(key string) bool { return strings.HasSuffix(strings.TrimSuffix(key, ".json"), "jwks") }

// trimConfigMap empties the values that Weft does not read; the keys stay, so that an unknown one
// can be told of.
func trimConfigMap(obj any) (any, error) {
	cm, ok := obj.(*corev1.ConfigMap)
	if !ok {
		return obj, nil
	}
	if cm.Labels[gateway.ManagedByLabel] == gateway.ManagedBy {
		return trimMeta(cm)
	}
	for key := range cm.Data {
		most := 0
		switch {
		case configMapKeys[key]:
			continue
		case strings.HasSuffix(key, scriptSuffix):
			most = extensions.MaxScript + 1 // too long all the same
		case strings.HasSuffix(key, document.Suffix):
			most = document.MaxSize + 1
		case strings.HasSuffix(key, opa.ModuleSuffix):
			most = opa.MaxModule + 1
		case isKeySet(key):
			most = jwt.MaxKeySet + 1
		}
		cm.Data[key] = cm.Data[key][:min(len(cm.Data[key]), most)]
	}
	for key := range cm.BinaryData {
		if !strings.HasSuffix(key, moduleSuffix) {
			cm.BinaryData[key] = nil
		}
	}
	return trimMeta(cm)
}
