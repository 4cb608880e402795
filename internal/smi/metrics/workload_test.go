package metrics

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestWorkloadsOf(t *testing.T) {
	all := WorkloadsOf(append(shopPods, podOf("lone", "lone", "", ""), podOf("bare", "bare", "ReplicaSet", "bare"), podOf("x-1", "night", "Job", "x")))
	for account, want := range map[string]string{
		"web": "Deployment shop/web", "cart": "", "lone": "Pod shop/lone", "bare": "ReplicaSet shop/bare", "night": "Job shop/x", "none": "",
	} {
		got, known := all[types.NamespacedName{Namespace: "shop", Name: account}]
		if known != (want != "") || known && show(got) != want {
			t.Errorf("%s: %v, want %q", account, got, want)
		}
	}
}
