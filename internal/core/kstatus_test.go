package core

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/xds"
)

// waitedOn is what Flux and other tools that wait by kstatus are to make of a MeshPolicy whose Ready has
// a reason, as docs/policies.md and docs/server-tls.md say.
var waitedOn = map[string]status.Status{
	"Enforced": status.CurrentStatus, "Shadowed": status.CurrentStatus, "Expired": status.CurrentStatus,
	"Programming": status.InProgressStatus, "TargetNotFound": status.InProgressStatus, "CertificateNotFound": status.InProgressStatus,
	"Invalid": status.FailedStatus, "Conflicted": status.FailedStatus, "Overridden": status.FailedStatus, "Refused": status.FailedStatus,
	"ConfigMapNotFound": status.InProgressStatus, "KeysUnavailable": status.InProgressStatus, "ModuleNotFetched": status.InProgressStatus, "SecretNotFound": status.InProgressStatus, "ServerUnavailable": status.InProgressStatus, "ProviderUnavailable": status.InProgressStatus,
	"BackendNotFound": status.InProgressStatus, "RefNotPermitted": status.FailedStatus,
	"Unguarded": status.FailedStatus, "InvalidCertificateRef": status.FailedStatus, "UnsupportedProtocol": status.FailedStatus,
}

// TestKstatus: what the stories' MeshPolicies come to is what kstatus makes of it; of a generation that
// nobody has looked at yet, it says that it is under way.
func TestKstatus(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("%d stories, %v", len(stories), err)
	}
	seen := map[status.Status]bool{}
	for _, path := range stories {
		story, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for key, st := range policiesOf(t, story) {
			ready := conditionOf(st.Conditions, v1alpha1.ConditionReady)
			want, known := waitedOn[ready.Reason]
			if got := kstatus(t, st, st.ObservedGeneration); !known || got != want {
				t.Errorf("%s: MeshPolicy %s, %s: %s, want %s", path, key, ready.Reason, got, want)
			}
			if got := kstatus(t, st, st.ObservedGeneration+1); got != status.InProgressStatus {
				t.Errorf("%s: MeshPolicy %s, whose spec is newer than its status: %s", path, key, got)
			}
			seen[want] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("the stories come to %v only", seen)
	}
}

// policiesOf are the statuses of MeshPolicies that the steps of a story come to, by step and policy.
func policiesOf(t *testing.T, story *txtar.Archive) map[string]v1alpha1.MeshPolicyStatus {
	t.Helper()
	all := map[string]v1alpha1.MeshPolicyStatus{}
	core := New(xds.NewStore(nil), xds.NewFacts())
	for _, f := range story.Files {
		if !strings.HasSuffix(f.Name, ".yaml") {
			continue
		}
		put(t, core, f.Data)
		core.Commit()
		core.Commit() // takes in what the first one learned
		for _, s := range core.Statuses.Take() {
			if st, is := s.Value.(v1alpha1.MeshPolicyStatus); is {
				all[f.Name+" "+s.Key] = st
			}
		}
	}
	return all
}

func conditionOf(all []metav1.Condition, kind string) (found metav1.Condition) {
	for _, c := range all {
		if c.Type == kind {
			found = c
		}
	}
	return found
}

func kstatus(t *testing.T, st v1alpha1.MeshPolicyStatus, generation int64) status.Status {
	t.Helper()
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop", Generation: generation}, Status: st}
	p.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MeshPolicy"))
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		t.Fatal(err)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}
