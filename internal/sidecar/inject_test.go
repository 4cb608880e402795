package sidecar

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var sampleEnvoy = Envoy{
	Bootstrap: `{"note":"$(HOME)"}`, TokenPath: "/var/run/secrets/weft/token", RootsPath: "/etc/weft/roots/ca.crt", SDSPath: "/run/weft/sds",
	ReadyPath: "/ready", DrainPath: "/drain", DrainHeader: corev1.HTTPHeader{Name: "x-drain", Value: "KEY"},
}

// Each story gives a pod, and what it is once it is in the mesh.
func TestInject(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { injected(t, file) })
	}
}

func injected(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	var d v1alpha1.SidecarDefaults
	var want []byte
	var given []txtar.File
	for _, f := range archive.Files {
		switch f.Name {
		case "pod.yaml":
			err = yaml.UnmarshalStrict(f.Data, &pod)
		case "defaults.yaml":
			err = yaml.UnmarshalStrict(f.Data, &d)
		case "out.yaml":
			want = f.Data
			continue
		default:
			t.Fatalf("unknown section %s", f.Name)
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		given = append(given, f)
	}
	o, problem := OptionsOf(&pod, nil, d)
	if problem != "" {
		t.Fatal(problem)
	}
	got, err := yaml.Marshal(Inject(&pod, o, "weft:test", sampleEnvoy, "REVISION"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	if !*update {
		t.Fatalf("%s: go test -update rewrites it; got\n%s", file, got)
	}
	archive.Files = append(given, txtar.File{Name: "out.yaml", Data: got})
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		pod    string
		memory uint64
		drain  time.Duration
	}{
		"by default":           {`{spec: {restartPolicy: Always}}`, 512 << 20, drain},
		"a limit":              {`{spec: {restartPolicy: Always}, metadata: {annotations: {mesh.weft.dev/proxy-memory-limit: 1Gi}}}`, 1 << 30, drain},
		"a pod that ends":      {`{spec: {restartPolicy: OnFailure}}`, 512 << 20, 0},
		"a pod that ends once": {`{spec: {restartPolicy: Never}}`, 512 << 20, 0},
	} {
		o, problem := OptionsOf(podOf(t, c.pod), nil, v1alpha1.SidecarDefaults{})
		if problem != "" || o.Memory != c.memory || o.Drain != c.drain {
			t.Errorf("%s: %d bytes, %s, %s", name, o.Memory, o.Drain, problem)
		}
	}
}

func TestRefusedPods(t *testing.T) {
	for name, c := range map[string]struct{ pod, namespace, want string }{
		"host network": {pod: `{spec: {hostNetwork: true}}`,
			want: "spec.hostNetwork is true: the node's own traffic cannot be captured; turn it off, or keep the pod out of the mesh: label the pod mesh.weft.dev/inject=disabled"},
		"Windows": {pod: `{spec: {os: {name: windows}}}`,
			want: "spec.os.name is windows: a sidecar needs Linux; keep the pod out of the mesh: label the pod mesh.weft.dev/inject=disabled"},
		"the proxy's user": {pod: `{spec: {securityContext: {runAsUser: 1337}}}`,
			want: "spec.securityContext.runAsUser is 1337, the proxy's, whose traffic does not pass through the mesh: use another"},
		"the proxy's user in a container": {pod: `{spec: {containers: [{name: app, securityContext: {runAsUser: 1337}}]}}`,
			want: "spec.containers[app].securityContext.runAsUser is 1337, the proxy's, whose traffic does not pass through the mesh: use another"},
		"the proxy's group in an init container": {pod: `{spec: {initContainers: [{name: init, securityContext: {runAsGroup: 1337}}]}}`,
			want: "spec.initContainers[init].securityContext.runAsGroup is 1337, the proxy's, whose traffic does not pass through the mesh: use another"},
		"the proxy's name": {pod: `{spec: {containers: [{name: weft-proxy}]}}`,
			want: "spec.containers[weft-proxy] has a name that the sidecar needs: rename it; if the pod is a copy of one that was in the mesh, remove weft-proxy, weft-redirect and their volumes"},
		"the redirection's name": {pod: `{spec: {initContainers: [{name: weft-redirect}]}}`,
			want: "spec.initContainers[weft-redirect] has a name that the sidecar needs: rename it; if the pod is a copy of one that was in the mesh, remove weft-proxy, weft-redirect and their volumes"},
		"a volume's name": {pod: `{spec: {volumes: [{name: weft-roots}]}}`,
			want: "volume weft-roots has a name that the sidecar needs: rename it"},
		"a port of the proxy": {pod: `{spec: {containers: [{name: app, ports: [{containerPort: 15001}]}]}}`,
			want: "spec.containers[app] declares port 15001, which is the sidecar's (as are [15000 15001 15006 15007 15021 15090]): use another port, or label the pod mesh.weft.dev/inject=disabled"},
		"Pod Security": {pod: `{}`, namespace: `{metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}}`,
			want: "namespace shop enforces Pod Security level restricted, which does not allow the capability NET_ADMIN that weft-redirect needs: label the namespace " +
				"pod-security.kubernetes.io/enforce=privileged (pod-security.kubernetes.io/warn=restricted can go on telling of the rest), or keep the pod out of the mesh: label the pod mesh.weft.dev/inject=disabled"},
		"baseline": {pod: `{}`, namespace: `{metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: baseline}}}`,
			want: "namespace shop enforces Pod Security level baseline, which does not allow the capability NET_ADMIN that weft-redirect needs: label the namespace " +
				"pod-security.kubernetes.io/enforce=privileged (pod-security.kubernetes.io/warn=baseline can go on telling of the rest), or keep the pod out of the mesh: label the pod mesh.weft.dev/inject=disabled"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.pod, c.namespace, c.want) })
	}
}

func TestRefusedAnnotations(t *testing.T) {
	annotated := func(key, value string) string {
		return `{metadata: {annotations: {"mesh.weft.dev/` + key + `": "` + value + `"}}}`
	}
	for name, c := range map[string]struct{ pod, want string }{
		"unknown": {pod: annotated("proxy-cores", "2"),
			want: "annotation mesh.weft.dev/proxy-cores is unknown: remove it, or correct it to one of " + strings.Join(annotations, ", ")},
		"concurrency":       {pod: annotated("proxy-concurrency", "two"), want: `annotation mesh.weft.dev/proxy-concurrency is "two": write a number from 1 to 64`},
		"no concurrency":    {pod: annotated("proxy-concurrency", "0"), want: `annotation mesh.weft.dev/proxy-concurrency is "0": write a number from 1 to 64`},
		"much concurrency":  {pod: annotated("proxy-concurrency", "65"), want: `annotation mesh.weft.dev/proxy-concurrency is "65": write a number from 1 to 64`},
		"log level":         {pod: annotated("proxy-log-level", "verbose"), want: `annotation mesh.weft.dev/proxy-log-level is "verbose": write one of trace, debug, info, warning, error, critical, off`},
		"CPU":               {pod: annotated("proxy-cpu", "much"), want: `annotation mesh.weft.dev/proxy-cpu is "much": write a quantity of cpu of at least 1m, such as 100m`},
		"CPU limit":         {pod: annotated("proxy-cpu-limit", "-1"), want: `annotation mesh.weft.dev/proxy-cpu-limit is "-1": write a quantity of cpu of at least 1m, such as 100m`},
		"memory":            {pod: annotated("proxy-memory", ""), want: `annotation mesh.weft.dev/proxy-memory is "": write a quantity of memory of at least 1Mi, such as 256Mi`},
		"too little memory": {pod: annotated("proxy-memory-limit", "32Mi"), want: `annotation mesh.weft.dev/proxy-memory-limit is "32Mi": write a quantity of memory of at least 64Mi, such as 256Mi`},
		"above the limit": {pod: annotated("proxy-memory", "1Gi"),
			want: "the proxy would request 1Gi of memory, more than its limit of 512Mi: set annotation mesh.weft.dev/proxy-memory, mesh.weft.dev/proxy-memory-limit, or both"},
		"below the request": {pod: annotated("proxy-memory-limit", "100Mi"),
			want: "the proxy would request 128Mi of memory, more than its limit of 100Mi: set annotation mesh.weft.dev/proxy-memory, mesh.weft.dev/proxy-memory-limit, or both"},
		"inbound port":  {pod: annotated("exclude-inbound-ports", "http"), want: `annotation mesh.weft.dev/exclude-inbound-ports is "http": "http" is no port: write a number from 1 to 65535`},
		"outbound port": {pod: annotated("exclude-outbound-ports", "0"), want: `annotation mesh.weft.dev/exclude-outbound-ports is "0": "0" is no port: write a number from 1 to 65535`},
		"outbound range": {pod: annotated("exclude-outbound-cidrs", "10.0.0.1"),
			want: `annotation mesh.weft.dev/exclude-outbound-cidrs is "10.0.0.1": "10.0.0.1" has no prefix length: write 10.0.0.1/32 for this address alone`},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.pod, "", c.want) })
	}
}

// refused checks what is wrong with a pod in a namespace; one that is not known, if it is empty.
func refused(t *testing.T, pod, namespace, want string) {
	t.Helper()
	var ns *corev1.Namespace
	if namespace != "" {
		ns = &corev1.Namespace{}
		if err := yaml.UnmarshalStrict([]byte(namespace), ns); err != nil {
			t.Fatal(err)
		}
	}
	if _, got := OptionsOf(podOf(t, pod), ns, v1alpha1.SidecarDefaults{}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestFit: what is near to what is refused, and is not.
func TestFit(t *testing.T) {
	for name, pod := range map[string]string{
		"another user":           `{spec: {securityContext: {runAsUser: 1338}}}`,
		"Linux":                  `{spec: {os: {name: linux}}}`,
		"UDP":                    `{spec: {containers: [{name: app, ports: [{containerPort: 15001, protocol: UDP}]}]}}`,
		"a mark from a template": `{metadata: {annotations: {mesh.weft.dev/injected: x}}}`,
		"others' annotations":    `{metadata: {annotations: {weft.dev/a: x, mesh.weft.development/b: x}}}`,
	} {
		p := podOf(t, pod)
		if _, problem := OptionsOf(p, &corev1.Namespace{}, v1alpha1.SidecarDefaults{}); problem != "" || Injected(p) {
			t.Errorf("%s: %s, injected %v", name, problem, Injected(p))
		}
	}
}

func TestRevision(t *testing.T) {
	revision := func(d v1alpha1.SidecarDefaults, image string, e Envoy) string { return Revision(defaults(d), image, e) }
	first := revision(v1alpha1.SidecarDefaults{}, "weft:1", sampleEnvoy)
	if again := revision(v1alpha1.SidecarDefaults{}, "weft:1", sampleEnvoy); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	other := sampleEnvoy
	other.Bootstrap = "{}"
	for name, revision := range map[string]string{
		"another default":   revision(v1alpha1.SidecarDefaults{Concurrency: new(int32(4))}, "weft:1", sampleEnvoy),
		"another image":     revision(v1alpha1.SidecarDefaults{Image: "envoy:2"}, "weft:1", sampleEnvoy),
		"another release":   revision(v1alpha1.SidecarDefaults{}, "weft:2", sampleEnvoy),
		"another bootstrap": revision(v1alpha1.SidecarDefaults{}, "weft:1", other),
	} {
		if revision == first {
			t.Errorf("%s has the same revision", name)
		}
	}
}

// FuzzInject: whatever a pod is, it is refused with a reason, or given a sidecar without a change to
// what it had.
func FuzzInject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"spec":{"containers":[{"name":"app","livenessProbe":{"tcpSocket":{"port":"web"}},"ports":[{"name":"web","containerPort":80}]}]}}`,
		`{"metadata":{"annotations":{"mesh.weft.dev/proxy-cpu":"1","mesh.weft.dev/proxy-memory":"1e3"}},"spec":{"initContainers":[{"name":"i"}],"volumes":[{"name":"v"}]}}`,
		`{"metadata":{"annotations":{"mesh.weft.dev/exclude-outbound-cidrs":"10.0.0.0/8, ::/0"}},"spec":{"restartPolicy":"Never"}}`,
		`{"spec":{"containers":[{"name":"app","lifecycle":{"preStop":{"httpGet":{"port":1,"path":"%"}}},"readinessProbe":{"grpc":{"port":5}}}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var pod corev1.Pod
		if json.Unmarshal(text, &pod) != nil {
			return
		}
		before := pod.DeepCopy()
		o, problem := OptionsOf(&pod, nil, v1alpha1.SidecarDefaults{})
		if problem != "" {
			return
		}
		out := Inject(&pod, o, "weft:test", sampleEnvoy, "REVISION")
		if !reflect.DeepEqual(&pod, before) {
			t.Error("the pod itself was changed")
		}
		if !Injected(out) || out.Spec.InitContainers[0].Name != RedirectContainer || out.Spec.InitContainers[1].Name != ProxyContainer {
			t.Fatalf("not injected: %v", out.Spec.InitContainers)
		}
		if !reflect.DeepEqual(Probes(out), Probes(before)) {
			t.Error("the proxy added probes")
		}
		out.Spec.InitContainers, out.Spec.Volumes = out.Spec.InitContainers[2:], out.Spec.Volumes[:len(pod.Spec.Volumes)]
		if revision := out.Annotations[InjectedAnnotation]; revision != "REVISION" {
			t.Errorf("revision %q", revision)
		}
		if had, marked := pod.Annotations[InjectedAnnotation]; marked {
			out.Annotations[InjectedAnnotation] = had
		} else {
			delete(out.Annotations, InjectedAnnotation)
		}
		if got, want := asJSON(t, out), asJSON(t, before); !bytes.Equal(got, want) {
			t.Errorf("something else was changed:\n%s\n%s", got, want)
		}
	})
}

func asJSON(t *testing.T, p *corev1.Pod) []byte {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
