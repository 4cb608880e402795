package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weft-mesh/weft/internal/gateway"
)

// Envoy is what the proxy is given, as internal/envoy makes it.
type Envoy struct {
	Bootstrap   string // of --config-yaml
	TokenPath   string // where the bound ServiceAccount token is read from
	RootsPath   string // where the authorities of the xDS server's certificate are read from
	SDSPath     string // folder of the files that make Envoy watch both; weft-redirect writes them
	ReadyPath   string
	DrainPath   string
	DrainHeader corev1.HTTPHeader // what a request to DrainPath must carry
}

// RootsConfigMap is the ConfigMap of each namespace in the mesh that proxies read their roots from,
// under RootsKey. A pod starts once it is there.
const (
	RootsConfigMap = "weft-roots"
	RootsKey       = "ca.crt"
)

const (
	tokenVolume = "weft-token"
	rootsVolume = "weft-roots"
	sdsVolume   = "weft-sds"

	drainTime = 20 // seconds in which connections of a listener that changed may end
)

var ownVolumes = []string{tokenVolume, rootsVolume, sdsVolume}

// Injected says whether a pod was given a sidecar already; a second one would be in the way.
func Injected(p *corev1.Pod) bool {
	_, marked := p.Annotations[InjectedAnnotation]
	return marked && Meshed(p)
}

// Inject is a copy of p in the mesh. Image is Weft's own; revision says of what settings this is the
// outcome. The containers of p are not touched.
func Inject(p *corev1.Pod, o Options, image string, e Envoy, revision string) *corev1.Pod {
	out := p.DeepCopy()
	out.Spec.InitContainers = slices.Insert(out.Spec.InitContainers, 0, redirectContainer(p, o, image, e), proxyContainer(o, e))
	out.Spec.Volumes = append(out.Spec.Volumes, volumes(e)...)
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[InjectedAnnotation] = revision
	return out
}

// Revision is short for what a pod without any wishes is given by o: another image, another default
// or another release of Weft has another. What e differs by from pod to pod must be left out of it.
func Revision(o Options, image string, e Envoy) string {
	text, err := json.Marshal(Inject(&corev1.Pod{}, o, image, e, ""))
	if err != nil {
		panic(err) // a Pod is JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// redirectContainer needs root only for what NET_ADMIN allows, and ends before any other starts.
func redirectContainer(p *corev1.Pod, o Options, image string, e Envoy) corev1.Container {
	return corev1.Container{
		Name:            RedirectContainer,
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            redirectArguments(p, o, e),
		Env:             []corev1.EnvVar{fieldEnv("HOST_IPS", "status.hostIPs")},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: sdsVolume, MountPath: e.SDSPath}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                new(int64(0)),
			RunAsGroup:               new(int64(0)),
			RunAsNonRoot:             new(false),
			Privileged:               new(false),
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

func redirectArguments(p *corev1.Pod, o Options, e Envoy) []string {
	args := []string{"redirect", "--host-ips=$(HOST_IPS)", "--sds=" + e.SDSPath, "--token=" + e.TokenPath, "--roots=" + e.RootsPath}
	for _, list := range []struct{ flag, value string }{
		{"--tcp-probe-ports", commas(tcpProbed(p))},
		{"--exclude-inbound-ports", commas(o.excludeInbound)},
		{"--exclude-outbound-ports", commas(o.excludeOutbound)},
		{"--exclude-outbound-cidrs", commas(o.excludedPrefixes)},
	} {
		if list.value != "" {
			args = append(args, list.flag+"="+list.value)
		}
	}
	return args
}

// tcpProbed are the ports that the kubelet only connects to. One that it also sends requests to goes
// through the proxy: to such a port a TCP probe succeeds as long as the proxy runs.
func tcpProbed(p *corev1.Pod) (ports []int32) {
	probes := Probes(p)
	for _, probe := range probes {
		requests := func(other Probe) bool { return other.Port == probe.Port && other.Kind != TCP }
		if probe.Kind == TCP && !slices.ContainsFunc(probes, requests) {
			ports = append(ports, probe.Port)
		}
	}
	return ports
}

func commas[T any](all []T) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(all), "[]"), " ", ",")
}

// proxyContainer starts before all but the redirection, which is what its startup probe is for: what
// starts later, other init containers too, can use the mesh. When the pod is deleted, its preStop hook
// runs at once; SIGTERM comes only after the pod's own containers have ended.
func proxyContainer(o Options, e Envoy) corev1.Container {
	return corev1.Container{
		Name:            ProxyContainer,
		Image:           o.image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		RestartPolicy:   new(corev1.ContainerRestartPolicyAlways),
		Args:            proxyArguments(o, e),
		Env: []corev1.EnvVar{
			fieldEnv("POD_NAMESPACE", "metadata.namespace"), fieldEnv("POD_NAME", "metadata.name"), fieldEnv("SERVICE_ACCOUNT", "spec.serviceAccountName"),
		},
		Ports: []corev1.ContainerPort{
			{Name: "weft-ready", ContainerPort: ReadyPort, Protocol: corev1.ProtocolTCP},
			{Name: "weft-stats", ContainerPort: StatsPort, Protocol: corev1.ProtocolTCP},
		},
		Resources:      o.resources,
		VolumeMounts:   mounts(e),
		StartupProbe:   readyProbe(e, 1, 120),
		ReadinessProbe: readyProbe(e, 3, 3),
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: e.DrainPath, Port: intstr.FromInt32(ReadyPort), Scheme: corev1.URISchemeHTTP, HTTPHeaders: []corev1.HTTPHeader{e.DrainHeader},
		}}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                new(UID),
			RunAsGroup:               new(UID),
			RunAsNonRoot:             new(true),
			Privileged:               new(false),
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// proxyArguments: a "$(" in the bootstrap is doubled, since the kubelet expands variables.
func proxyArguments(o Options, e Envoy) []string {
	return []string{
		"--config-yaml", strings.ReplaceAll(e.Bootstrap, "$(", "$$("),
		"--service-node", "$(POD_NAMESPACE)/$(POD_NAME)",
		"--service-cluster", "$(POD_NAMESPACE)/$(SERVICE_ACCOUNT)",
		"--drain-time-s", fmt.Sprint(drainTime),
		"--drain-strategy", "immediate",
		"--concurrency", fmt.Sprint(o.concurrency),
		"--disable-hot-restart",
		"-l", o.logLevel,
	}
}

// readyProbe is patient with a busy node. A proxy that does not serve yet refuses at once.
func readyProbe(e Envoy, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		PeriodSeconds:    period,
		FailureThreshold: failures,
		TimeoutSeconds:   5,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: e.ReadyPath, Port: intstr.FromInt32(ReadyPort), Scheme: corev1.URISchemeHTTP,
		}},
	}
}

func fieldEnv(name, at string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: at},
	}}
}

// volumes: the roots are not optional, so that the kubelet starts nothing until they are there.
func volumes(e Envoy) []corev1.Volume {
	return []corev1.Volume{
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: gateway.TokenAudience, ExpirationSeconds: new(gateway.TokenLifetime), Path: path.Base(e.TokenPath),
			}}},
		}}},
		{Name: rootsVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: RootsConfigMap},
			Items:                []corev1.KeyToPath{{Key: RootsKey, Path: path.Base(e.RootsPath)}},
		}}},
		{Name: sdsVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1Mi")),
		}}},
	}
}

func mounts(e Envoy) []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: tokenVolume, MountPath: path.Dir(e.TokenPath), ReadOnly: true},
		{Name: rootsVolume, MountPath: path.Dir(e.RootsPath), ReadOnly: true},
		{Name: sdsVolume, MountPath: e.SDSPath, ReadOnly: true},
	}
}
