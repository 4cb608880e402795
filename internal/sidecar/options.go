package sidecar

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
)

// Annotations of a pod, by which its sidecar differs from the defaults in the Mesh. Any other that
// begins with mesh.weft.dev/ is refused.
const (
	// ProxyConcurrency is the number of the proxy's worker threads: 1 to 64, 2 unless the Mesh says
	// otherwise.
	ProxyConcurrency = "mesh.weft.dev/proxy-concurrency"
	// ProxyLogLevel is Envoy's: trace, debug, info, warning (the default), error, critical or off.
	ProxyLogLevel = "mesh.weft.dev/proxy-log-level"
	// ProxyCPU and ProxyMemory are the proxy's resource requests, as quantities: 100m, 128Mi.
	ProxyCPU    = "mesh.weft.dev/proxy-cpu"
	ProxyMemory = "mesh.weft.dev/proxy-memory"
	// ProxyCPULimit and ProxyMemoryLimit are its limits. Near the memory limit the proxy sheds load
	// before the kernel ends it. The least is 64Mi.
	ProxyCPULimit    = "mesh.weft.dev/proxy-cpu-limit"
	ProxyMemoryLimit = "mesh.weft.dev/proxy-memory-limit"
	// ExcludeInboundPorts are ports of the pod, separated by commas, at which what arrives goes to the
	// app as it comes: no mTLS, no policy.
	ExcludeInboundPorts = "mesh.weft.dev/exclude-inbound-ports"
	// ExcludeOutboundPorts are ports, separated by commas, to which the pod connects past the proxy.
	ExcludeOutboundPorts = "mesh.weft.dev/exclude-outbound-ports"
	// ExcludeOutboundCIDRs are ranges of addresses, separated by commas, to which the pod connects past
	// the proxy.
	ExcludeOutboundCIDRs = "mesh.weft.dev/exclude-outbound-cidrs"
)

// annotations are those that a pod may have, in the order in which they are told of.
var annotations = []string{
	ExcludeInboundPorts, ExcludeOutboundCIDRs, ExcludeOutboundPorts,
	ProxyConcurrency, ProxyCPU, ProxyCPULimit, ProxyLogLevel, ProxyMemory, ProxyMemoryLimit,
}

// InjectedAnnotation marks a pod that was given a sidecar. Its value is the Revision of what it was
// given.
const InjectedAnnotation = "mesh.weft.dev/injected"

// What neither the Mesh nor the pod says.
const (
	DefaultConcurrency = 2
	defaultLogLevel    = "warning"
)

const (
	maxConcurrency = 64
	leastMemory    = "64Mi" // a limit below it leaves Envoy no room to start
)

var logLevels = []string{"trace", "debug", "info", "warning", "error", "critical", "off"}

// drain is how long a sidecar that is told to stop goes on answering at least, while callers learn
// that its pod goes: an app that exits at once is answered for with 503, not with silence. A pod
// that runs to its end serves nobody then, and is not kept waiting.
const drain = 5 * time.Second

// Options are what a pod's sidecar is to be like.
type Options struct {
	Memory uint64        // the proxy's limit in bytes; 0: none
	Drain  time.Duration // how long it goes on answering at least when it is told to stop

	image            string
	concurrency      int
	logLevel         string
	resources        corev1.ResourceRequirements
	excludeInbound   []uint16
	excludeOutbound  []uint16
	excludedPrefixes []netip.Prefix
}

// OptionsOf are the defaults, and over them a pod's annotations. A problem names what the pod or its
// namespace (nil: not known) have that keeps a sidecar out, and the remedy.
func OptionsOf(p *corev1.Pod, ns *corev1.Namespace, d v1alpha1.SidecarDefaults) (o Options, problem string) {
	o = defaults(d)
	for _, check := range []func() string{
		func() string { return unfit(p) },
		func() string { return forbidden(ns) },
		func() string { return unknown(p.Annotations) },
		func() string { return o.annotate(p.Annotations) },
	} {
		if problem = check(); problem != "" {
			return Options{}, problem
		}
	}
	if p.Spec.RestartPolicy == corev1.RestartPolicyAlways || p.Spec.RestartPolicy == "" {
		o.Drain = drain
	}
	o.Memory = uint64(max(o.resources.Limits.Memory().Value(), 0))
	return o, ""
}

func defaults(d v1alpha1.SidecarDefaults) Options {
	o := Options{image: gateway.DefaultImage, concurrency: DefaultConcurrency, logLevel: defaultLogLevel, resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}}
	if d.Image != "" {
		o.image = d.Image
	}
	if d.Concurrency != nil {
		o.concurrency = int(*d.Concurrency)
	}
	if d.Resources != nil {
		o.resources = *d.Resources.DeepCopy()
	}
	return o
}

func unknown(all map[string]string) string {
	var found []string
	for key := range all {
		if strings.HasPrefix(key, AnnotationPrefix) && key != InjectedAnnotation && !slices.Contains(annotations, key) {
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	return fmt.Sprintf("annotation %s is unknown: remove it, or correct it to one of %s", strings.Join(found, ", "), strings.Join(annotations, ", "))
}

// annotate sets what the annotations say, and tells what is wrong with the first that is.
func (o *Options) annotate(all map[string]string) string {
	for _, key := range annotations {
		value, set := all[key]
		if !set {
			continue
		}
		if err := o.set(key, value); err != nil {
			return fmt.Sprintf("annotation %s is %q: %s", key, value, err)
		}
	}
	for _, r := range []struct {
		name           corev1.ResourceName
		request, limit string
	}{{corev1.ResourceCPU, ProxyCPU, ProxyCPULimit}, {corev1.ResourceMemory, ProxyMemory, ProxyMemoryLimit}} {
		request, limit := o.resources.Requests[r.name], o.resources.Limits[r.name]
		if (all[r.request] != "" || all[r.limit] != "") && !limit.IsZero() && request.Cmp(limit) > 0 {
			return fmt.Sprintf("the proxy would request %s of %s, more than its limit of %s: set annotation %s, %s, or both",
				request.String(), r.name, limit.String(), r.request, r.limit)
		}
	}
	return ""
}

func (o *Options) set(key, value string) (err error) {
	switch key {
	case ProxyConcurrency:
		o.concurrency, err = strconv.Atoi(value)
		if err != nil || o.concurrency < 1 || o.concurrency > maxConcurrency {
			return fmt.Errorf("write a number from 1 to %d", maxConcurrency)
		}
	case ProxyLogLevel:
		if o.logLevel = value; !slices.Contains(logLevels, value) {
			return fmt.Errorf("write one of %s", strings.Join(logLevels, ", "))
		}
	case ProxyCPU:
		return setQuantity(&o.resources.Requests, corev1.ResourceCPU, value, "1m")
	case ProxyCPULimit:
		return setQuantity(&o.resources.Limits, corev1.ResourceCPU, value, "1m")
	case ProxyMemory:
		return setQuantity(&o.resources.Requests, corev1.ResourceMemory, value, "1Mi")
	case ProxyMemoryLimit:
		return setQuantity(&o.resources.Limits, corev1.ResourceMemory, value, leastMemory)
	case ExcludeInboundPorts:
		o.excludeInbound, err = ParsePorts(value)
	case ExcludeOutboundPorts:
		o.excludeOutbound, err = ParsePorts(value)
	case ExcludeOutboundCIDRs:
		o.excludedPrefixes, err = ParsePrefixes(value)
	}
	return err
}

func setQuantity(list *corev1.ResourceList, name corev1.ResourceName, value, least string) error {
	quantity, err := resource.ParseQuantity(value)
	if err != nil || quantity.Cmp(resource.MustParse(least)) < 0 {
		return fmt.Errorf("write a quantity of %s of at least %s, such as %s", name, least, map[corev1.ResourceName]string{
			corev1.ResourceCPU: "100m", corev1.ResourceMemory: "256Mi",
		}[name])
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = quantity
	return nil
}
