package webhooks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	reviewv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// podPath is where the API server asks about pods.
const podPath = "/mutate/pod"

// Injector puts a proxy beside each pod that it is asked about, or refuses the pod.
type Injector struct {
	Reader   client.Reader // of the Mesh and of Namespaces
	Image    string        // Weft's own
	Envoy    func(o sidecar.Options, drainKey string) (sidecar.Envoy, error)
	Revision func(d v1alpha1.SidecarDefaults) (string, error)
}

var _ admission.Handler = Injector{}

// Handle answers one question. A pod that has a proxy stays as it is, as do those that the kubelet
// made from a file of its own.
func (i Injector) Handle(ctx context.Context, req admission.Request) admission.Response {
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("read the pod: %w", err))
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror || sidecar.Injected(&pod) {
		return admission.Allowed("")
	}
	if i.Image == "" {
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("the operator does not know its own image: run it with --image"))
	}
	out, problem, err := i.inject(ctx, &pod, req.Namespace, req.UID)
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case problem != "":
		name := cmp.Or(pod.Name, pod.GenerateName+"…")
		return admission.Denied(fmt.Sprintf("Pod %s/%s cannot be in the mesh: %s", req.Namespace, name, problem))
	}
	return patched(&pod, out)
}

func (i Injector) inject(ctx context.Context, pod *corev1.Pod, namespace string, request types.UID) (out *corev1.Pod, problem string, err error) {
	var settings v1alpha1.Mesh
	if err := i.Reader.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &settings); client.IgnoreNotFound(err) != nil {
		return nil, "", fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	ns, err := i.namespace(ctx, namespace)
	if err != nil {
		return nil, "", err
	}
	o, problem := sidecar.OptionsOf(pod, ns, settings.Spec.Sidecars)
	if problem != "" {
		return nil, problem, nil
	}
	revision, err := i.Revision(settings.Spec.Sidecars)
	if err != nil {
		return nil, "", err
	}
	e, err := i.Envoy(o, drainKey(request))
	if err != nil {
		return nil, "", err
	}
	return sidecar.Inject(pod, o, i.Image, e, revision), "", nil
}

// namespace is nil for one that is so new that it is not known here: the API server itself refuses
// what its level of Pod Security does not allow, in its own words.
func (i Injector) namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{}
	err := i.Reader.Get(ctx, client.ObjectKey{Name: name}, ns)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Namespace %s: %w", name, err)
	}
	return ns, nil
}

// drainKey keeps those who can reach a pod, but not read it, from draining its proxy. It comes from
// the API server's own random name of the request.
func drainKey(request types.UID) string {
	sum := sha256.Sum256([]byte("drain " + request))
	return hex.EncodeToString(sum[:16])
}

// patched answers with what Inject added to a pod, as JSON Patch. It only adds, and names nothing that
// the pod had: what a newer API server has in a pod, and this release does not know, stays.
func patched(pod, out *corev1.Pod) admission.Response {
	first := out.Spec.InitContainers[:len(out.Spec.InitContainers)-len(pod.Spec.InitContainers)]
	last := out.Spec.Volumes[len(pod.Spec.Volumes):]
	additions := slices.Concat(
		added("/spec/initContainers", len(pod.Spec.InitContainers), first, strconv.Itoa),
		added("/spec/volumes", len(pod.Spec.Volumes), last, func(int) string { return "-" }),
		[]addition{mark(pod, out)})
	text, err := json.Marshal(additions)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("write the patch: %w", err))
	}
	response := admission.Allowed("")
	response.Patch, response.PatchType = text, new(reviewv1.PatchTypeJSONPatch)
	return response
}

// addition is an operation of JSON Patch, RFC 6902.
type addition struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// added puts elements into a list that had some: index says where the n-th goes.
func added[T any](path string, had int, elements []T, index func(n int) string) (all []addition) {
	if had == 0 {
		return []addition{{"add", path, elements}}
	}
	for n, e := range elements {
		all = append(all, addition{"add", path + "/" + index(n), e})
	}
	return all
}

func mark(pod, out *corev1.Pod) addition {
	const key = sidecar.InjectedAnnotation
	if len(pod.Annotations) == 0 {
		return addition{"add", "/metadata/annotations", map[string]string{key: out.Annotations[key]}}
	}
	return addition{"add", "/metadata/annotations/" + strings.ReplaceAll(key, "/", "~1"), out.Annotations[key]}
}
