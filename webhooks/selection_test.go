package webhooks

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// unsaid stands for a label that is not there.
const unsaid = "-"

func labelled(inject, revision, name string) labels.Set {
	set := labels.Set{}
	for key, value := range map[string]string{sidecar.InjectLabel: inject, sidecar.RevisionLabel: revision, gateway.NameLabel: name} {
		if value != unsaid {
			set[key] = value
		}
	}
	return set
}

// asked are the operators, by revision, that the API server asks about a pod, once for each time.
func asked(t *testing.T, namespace, pod labels.Set) (all []string) {
	t.Helper()
	for _, revision := range []string{"", "canary"} {
		for _, w := range InjectorConfiguration("weft-system", revision).Webhooks {
			if matches(t, w.NamespaceSelector, namespace) && matches(t, w.ObjectSelector, pod) {
				all = append(all, revision)
			}
		}
	}
	return all
}

func matches(t *testing.T, s *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(set)
}

// TestWhoIsAsked goes through all labels that a pod and its namespace may have.
func TestWhoIsAsked(t *testing.T) {
	injects, revisions := []string{unsaid, sidecar.Enabled, sidecar.Disabled, "other"}, []string{unsaid, "", "canary", "other"}
	for _, inNamespace := range injects {
		for _, onPod := range injects {
			for _, ofNamespace := range revisions {
				for _, ofPod := range revisions {
					want := wanted(inNamespace, onPod, ofNamespace, ofPod)
					namespace := labelled(inNamespace, ofNamespace, unsaid)
					for name, want := range map[string][]string{"shop": want, "kube-system": nil, "weft-system": nil} {
						namespace[corev1.LabelMetadataName] = name
						if got := asked(t, namespace, labelled(onPod, ofPod, "cart")); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
							t.Errorf("%q are asked about a pod with %v in a namespace with %v; want %q", got, labelled(onPod, ofPod, "cart"), namespace, want)
						}
					}
					if got := asked(t, namespace, labelled(onPod, ofPod, gateway.NameOfProxies)); got != nil {
						t.Errorf("%q are asked about a Gateway's proxy", got)
					}
				}
			}
		}
	}
}

func wanted(inNamespace, onPod, ofNamespace, ofPod string) []string {
	switch inNamespace {
	case sidecar.Enabled:
		if onPod == sidecar.Disabled {
			return nil
		}
	case unsaid:
		if onPod != sidecar.Enabled {
			return nil
		}
	default:
		return nil
	}
	for _, revision := range []string{ofPod, ofNamespace} {
		switch revision {
		case "", "canary":
			return []string{revision}
		case "other":
			return nil
		}
	}
	return []string{""}
}
