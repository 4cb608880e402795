package metrics

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"
)

// Workloads are what each ServiceAccount's pods belong to, where all of them belong to one. A
// certificate proves a ServiceAccount; who else it can be follows from who uses it.
type Workloads map[types.NamespacedName]corev1.ObjectReference

// WorkloadsOf are those of pods in the mesh.
func WorkloadsOf(pods []*corev1.Pod) Workloads {
	all, several := Workloads{}, map[types.NamespacedName]bool{}
	for _, pod := range pods {
		account := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}
		workload := workloadOf(pod)
		if before, known := all[account]; known && before != workload {
			several[account] = true
		}
		all[account] = workload
	}
	for account := range several {
		delete(all, account)
	}
	return all
}

// workloadOf names what a pod belongs to as the scrape does.
func workloadOf(pod *corev1.Pod) corev1.ObjectReference {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
	}
	kind, name := owner.Kind, owner.Name
	if i := strings.LastIndexByte(name, '-'); kind == "ReplicaSet" && i > 0 {
		kind, name = "Deployment", name[:i]
	}
	return corev1.ObjectReference{Kind: kind, Namespace: pod.Namespace, Name: name}
}

// other is who is on the other side. Of requests that reached no pod, or one without mTLS, it is the
// Service that was called.
func (r Request) other(v view, labels map[string]string, workloads Workloads) (corev1.ObjectReference, bool) {
	for i, kind := range []string{"ServiceAccount", "Service"} {
		if len(v.other) < 2*i+2 {
			break
		}
		namespace, name := labels[v.other[2*i]], labels[v.other[2*i+1]]
		switch {
		case namespace == "" || name == "":
			continue
		case r.Kind.Kind == "Namespace":
			return corev1.ObjectReference{Kind: "Namespace", Name: namespace}, true
		}
		if workload, one := workloads[types.NamespacedName{Namespace: namespace, Name: name}]; one && kind == "ServiceAccount" {
			return workload, true
		}
		return corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}, true
	}
	return corev1.ObjectReference{}, false
}
