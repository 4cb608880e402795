package gateway

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// What Mesh.spec.gateways leaves out.
const (
	DefaultImage    = "envoyproxy/envoy:distroless-v1.40.0"
	DefaultReplicas = 2
)

// nonRoot is the user of the stock distroless images.
const nonRoot int64 = 65532

// The ports of a proxy's own.
const (
	AdminPort = 15000 // on the loopback interface only
	ReadyPort = 15021
	StatsPort = 15090
)

// DefaultDrain is how long a proxy that is told to stop goes on serving while its clients move to
// another. A patch of terminationGracePeriodSeconds changes it: it is that, less afterDrain.
const (
	DefaultDrain = 20 * time.Second
	afterDrain   = 15 * time.Second
)

// Limits are what the parameters of a Gateway leave its proxies, and what Envoy must know of.
type Limits struct {
	Memory uint64        // of the container, in bytes; 0: none
	Drain  time.Duration // how long it drains; at least a second
}

// LimitsOf are the Limits of the Deployment that Objects makes. A problem is one of Objects too.
func LimitsOf(in Input) (l Limits, problem string) {
	in.limits.Drain = DefaultDrain
	d, problem := patched(deployment(in), "deployment", in.Parameters)
	if problem != "" {
		return l, problem
	}
	l.Drain = DefaultDrain
	if grace := d.Spec.Template.Spec.TerminationGracePeriodSeconds; grace != nil {
		l.Drain = max(time.Duration(*grace)*time.Second-afterDrain, time.Second)
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name == container {
			l.Memory = uint64(max(c.Resources.Limits.Memory().Value(), 0))
		}
	}
	return l, ""
}

const container = "envoy"

func deployment(in Input) *appsv1.Deployment {
	g := in.Gateway
	replicas := int32(DefaultReplicas)
	if in.Defaults.Replicas != nil {
		replicas = *in.Defaults.Replicas
	}
	none, one := intstr.FromInt32(0), intstr.FromInt32(1)
	m := meta(g)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: m,
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: Selector(g)},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &none, MaxSurge: &one},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: m.Labels, Annotations: m.Annotations},
				Spec:       pod(in),
			},
		},
	}
}

func pod(in Input) corev1.PodSpec {
	g := in.Gateway
	return corev1.PodSpec{
		ServiceAccountName:            Name(g),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		TerminationGracePeriodSeconds: new(int64((in.limits.Drain + afterDrain).Seconds())),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   new(true),
			RunAsUser:      new(nonRoot),
			RunAsGroup:     new(nonRoot),
			FSGroup:        new(nonRoot),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			// Lets Envoy listen on ports 80 and 443 without a capability.
			Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
		},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
			spread(g, corev1.LabelTopologyZone), spread(g, corev1.LabelHostname),
		},
		Containers: []corev1.Container{envoyContainer(in)},
		Volumes:    volumes(in),
	}
}

func spread(g *gwv1.Gateway, topology string) corev1.TopologySpreadConstraint {
	return corev1.TopologySpreadConstraint{
		MaxSkew:           1,
		TopologyKey:       topology,
		WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:     &metav1.LabelSelector{MatchLabels: Selector(g)},
	}
}

func envoyContainer(in Input) corev1.Container {
	return corev1.Container{
		Name:            container,
		Image:           image(in.Defaults),
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            arguments(in),
		Env:             []corev1.EnvVar{fieldEnv("POD_NAMESPACE", "metadata.namespace"), fieldEnv("POD_NAME", "metadata.name")},
		Ports:           containerPorts(),
		Resources:       resources(in.Defaults),
		VolumeMounts:    mounts(in.Envoy),
		StartupProbe:    probe(in.Envoy, 1, 120),
		ReadinessProbe:  probe(in.Envoy, 3, 3),
		Lifecycle:       &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: drainRequest(in.Envoy)}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// arguments of Envoy. A "$(" in the bootstrap is doubled, since the kubelet expands variables.
func arguments(in Input) []string {
	return []string{
		"--config-yaml", strings.ReplaceAll(in.Envoy.Bootstrap, "$(", "$$("),
		"--service-node", "$(POD_NAMESPACE)/$(POD_NAME)",
		"--service-cluster", in.Gateway.Namespace + "/" + Name(in.Gateway),
		"--drain-time-s", fmt.Sprint(int64(in.limits.Drain.Seconds())),
		"--drain-strategy", "immediate",
		"--concurrency", "2",
		"--disable-hot-restart",
		"-l", "warning",
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// containerPorts are the proxy's own. Those of the listeners are left out: they would only inform,
// and a listener that comes or goes would roll every proxy.
func containerPorts() []corev1.ContainerPort {
	return []corev1.ContainerPort{
		{Name: "ready", ContainerPort: ReadyPort, Protocol: corev1.ProtocolTCP},
		{Name: "stats", ContainerPort: StatsPort, Protocol: corev1.ProtocolTCP},
	}
}

func image(d v1alpha1.GatewayDefaults) string {
	if d.Image != "" {
		return d.Image
	}
	return DefaultImage
}

func resources(d v1alpha1.GatewayDefaults) corev1.ResourceRequirements {
	if d.Resources != nil {
		return *d.Resources
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("100m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}

// probe is patient: what makes one proxy slow to answer, such as a busy node, often does so to all of a
// Gateway's, and none that serves is better. One that does not serve yet refuses at once.
func probe(e Envoy, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		PeriodSeconds:    period,
		FailureThreshold: failures,
		TimeoutSeconds:   5,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: e.ReadyPath, Port: intstr.FromInt32(ReadyPort), Scheme: corev1.URISchemeHTTP,
		}},
	}
}

func drainRequest(e Envoy) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{
		Path: e.DrainPath, Port: intstr.FromInt32(ReadyPort), Scheme: corev1.URISchemeHTTP,
		HTTPHeaders: []corev1.HTTPHeader{e.DrainHeader},
	}
}
