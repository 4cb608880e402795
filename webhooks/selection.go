package webhooks

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// InjectorName is that of the configuration of the webhooks that put pods into the mesh, for the operator
// without a revision. API servers ask webhooks in the order of their names: these come late, and see what
// others have added.
const InjectorName = "weft-injector"

// Revised is what an object of the operator of a revision is called, where that of the operator without
// one has that name.
func Revised(name, revision string) string {
	if revision == "" {
		return name
	}
	return name + "-" + revision
}

// InjectorConfiguration asks the API server to call the webhook that the operator of a revision serves in
// namespace, for each new pod that this operator has to put into the mesh. While nothing answers, no such
// pod is made: it would run outside the mesh. About others nobody is asked. cert-manager's cainjector
// fills in the authority.
//
// It is not called a second time when other webhooks change a pod after it: it would find the pod
// injected.
func InjectorConfiguration(namespace, revision string) *admissionv1.MutatingWebhookConfiguration {
	service := Revised(Name, revision)
	c := &admissionv1.MutatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        Revised(InjectorName, revision),
			Annotations: map[string]string{"cert-manager.io/inject-ca-from": namespace + "/" + service},
		},
	}
	for _, s := range selections(revision) {
		c.Webhooks = append(c.Webhooks, injectorWebhook(namespace, service, s))
	}
	return c
}

func injectorWebhook(namespace, service string, s selection) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: s.name,
		ClientConfig: admissionv1.WebhookClientConfig{
			Service: &admissionv1.ServiceReference{Namespace: namespace, Name: service, Path: new(podPath), Port: new(int32(443))},
		},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: new(admissionv1.NamespacedScope),
			},
		}},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: append(s.namespace, notIn(corev1.LabelMetadataName, metav1.NamespaceSystem, namespace))},
		ObjectSelector:    &metav1.LabelSelector{MatchExpressions: append(s.pod, notIn(gateway.NameLabel, gateway.NameOfProxies))},

		MatchPolicy:             new(admissionv1.Equivalent),
		FailurePolicy:           new(admissionv1.Fail),
		ReinvocationPolicy:      new(admissionv1.NeverReinvocationPolicy),
		SideEffects:             new(admissionv1.SideEffectClassNone),
		TimeoutSeconds:          new(int32(10)),
		AdmissionReviewVersions: []string{"v1"},
	}
}

// selection are pods, by what must hold of their own labels and of their namespace's.
type selection struct {
	name           string
	namespace, pod []metav1.LabelSelectorRequirement
}

// selections are the pods that the operator of a revision puts into the mesh. None is in two of them.
func selections(revision string) (all []selection) {
	for _, wanted := range meshed() {
		for _, mine := range revised(revision) {
			all = append(all, selection{
				name:      wanted.name + mine.name + ".mesh.weft.dev",
				namespace: slices.Concat(wanted.namespace, mine.namespace),
				pod:       slices.Concat(wanted.pod, mine.pod),
			})
		}
	}
	return all
}

// meshed are the pods that get into the mesh: those of a namespace that is in, and those that ask where
// the namespace says nothing.
func meshed() []selection {
	type all = []metav1.LabelSelectorRequirement
	return []selection{
		{"pods", all{in(sidecar.InjectLabel, sidecar.Enabled)}, all{notIn(sidecar.InjectLabel, sidecar.Disabled)}},
		{"asking-pods", all{without(sidecar.InjectLabel)}, all{in(sidecar.InjectLabel, sidecar.Enabled)}},
	}
}

// revised are the pods of a revision: by their own label or, without one, by their namespace's. An empty
// label is as good as none, but that on a pod it goes before the namespace's too.
func revised(revision string) []selection {
	type all = []metav1.LabelSelectorRequirement
	mine, unsaid := in(sidecar.RevisionLabel, revision), without(sidecar.RevisionLabel)
	labelled := []selection{
		{".by-pod", nil, all{mine}},
		{".by-namespace", all{mine}, all{unsaid}},
	}
	if revision != "" {
		return labelled
	}
	return append([]selection{{"", all{unsaid}, all{unsaid}}}, labelled...)
}

func in(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func notIn(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: values}
}

func without(key string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}
}
