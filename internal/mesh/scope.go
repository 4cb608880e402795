package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// A sidecar sees what its workload has, over what its namespace sees, over what the whole mesh sees:
//
//	@pod/<namespace>/<ServiceAccount>/<template>  inbound listeners, identity, what policies decide
//	@mesh/<namespace>                             routes that only this namespace's pods follow
//	@mesh                                         every Service, the roots
//
// A proxy whose locality is known sees, before those of a scope, the names of it at that locality:
//
//	@at/<locality>|<scope>                        endpoints as they are arranged for callers there
const (
	MeshScope   = "@mesh"
	scopePrefix = "@pod/"
	atPrefix    = "@at/"
)

// NamespaceScope is the scope of the sidecars of a namespace.
func NamespaceScope(namespace string) string { return MeshScope + "/" + namespace }

// At is a scope as proxies at a locality see it; where none is known, the scope itself.
func At(l room.Locality, scope string) string {
	if l == "" {
		return scope
	}
	return atPrefix + string(l) + "|" + scope
}

// There is what a variant of routes is for proxies of a scope where these are.
func There(scope, variant string) string {
	at, _ := parseAt(scope)
	return At(at, variant)
}

func parseAt(scope string) (l room.Locality, inner string) {
	at, is := strings.CutPrefix(scope, atPrefix)
	if !is {
		return "", scope
	}
	text, inner, _ := strings.Cut(at, "|")
	return room.Locality(text), inner
}

// OfPod says whether a scope is that of a pod's sidecar.
func OfPod(scope string) bool {
	_, inner := parseAt(scope)
	return strings.HasPrefix(inner, scopePrefix)
}

// SeenIn are the scopes whose names a proxy of a scope sees, that itself and its bases, from the inside out.
func SeenIn(scope string) (out []string) {
	l, inner := parseAt(scope)
	for s := inner; s != ""; s = outside(s) {
		out = append(out, s)
	}
	if l == "" {
		return out
	}
	var local []string
	for _, s := range out {
		local = append(local, At(l, s))
	}
	return append(local, out...)
}

// BasesOf are the scopes that another one adds to.
func BasesOf(scope string) []string { return SeenIn(scope)[1:] }

// outside is the scope around one of sidecars; "" if there is none.
func outside(scope string) string {
	if pod, is := strings.CutPrefix(scope, scopePrefix); is {
		namespace, _, _ := strings.Cut(pod, "/")
		return NamespaceScope(namespace)
	}
	if strings.HasPrefix(scope, MeshScope+"/") {
		return MeshScope
	}
	return ""
}

// template is what a sidecar's configuration depends on of its pod. Pods of one template share a scope.
type template struct {
	Labels   map[string]string
	Ports    map[string]int32 // of containers, by name
	Probes   []sidecar.Probe
	Excluded []uint16
}

func templateOf(p *corev1.Pod) template {
	t := template{Labels: p.Labels, Ports: map[string]int32{}, Probes: sidecar.Probes(p), Excluded: sidecar.ExcludedInbound(p)}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, port := range c.Ports {
			if port.Name != "" && c.Name != sidecar.ProxyContainer {
				t.Ports[port.Name] = port.ContainerPort
			}
		}
	}
	return t
}

// PodIdentity says which pod it is that a sidecar's token names, and what the sidecar sees.
type PodIdentity struct{ UID, Scope string }

// PodIdentity is that of a pod; without a Scope if it has no sidecar.
func (m *Mesh) PodIdentity(q *incr.Query, k string) PodIdentity { return m.podIDs.Get(q, k) }

func (m *Mesh) podIdentity(q *incr.Query, k string) PodIdentity {
	p, ok := m.Pods.Get(q, k)
	if !ok || !sidecar.Meshed(p) {
		return PodIdentity{}
	}
	text, err := json.Marshal(templateOf(p))
	if err != nil {
		panic(err) // a template is plain data
	}
	sum := sha256.Sum256(text)
	scope := scopePrefix + p.Namespace + "/" + p.Spec.ServiceAccountName + "/" + hex.EncodeToString(sum[:8])
	return PodIdentity{string(p.UID), scope}
}

func (m *Mesh) podScopes(q *incr.Query, k string) []string {
	if id := m.PodIdentity(q, k); id.Scope != "" {
		return []string{id.Scope}
	}
	return nil
}

// podIn is a pod of a scope: which one makes no difference.
func (m *Mesh) podIn(q *incr.Query, scope string) (*corev1.Pod, bool) {
	for _, k := range m.PodsIn.Get(q, scope) {
		if p, ok := m.Pods.Get(q, k); ok {
			return p, true
		}
	}
	return nil, false
}

// sidecarWants are what the sidecars of a scope see besides what all see.
func (m *Mesh) sidecarWants(q *incr.Query, scope string) []string {
	in := m.inbounds.Get(q, scope)
	if in.Namespace == "" {
		return nil
	}
	out := []string{
		Want{scope, KindListener, OutboundListener, m.outboundVariant(q, in.workload)}.Key(),
		Want{scope, KindListener, InboundListener, scope}.Key(),
		Want{scope, KindListener, NodeInboundListener, scope}.Key(),
		Want{scope, KindSecret, IdentitySecret, key(in.Namespace, in.ServiceAccount)}.Key(),
	}
	for _, port := range in.Ports {
		if port.ServerTLS == nil {
			continue
		}
		for _, name := range port.ServerTLS.Secrets {
			out = append(out, want(scope, KindSecret, name))
		}
	}
	out = append(out, m.accessWants(q, scope, in)...)
	out = append(out, m.guardWants(q, scope, in)...)
	out = append(out, m.decisionWants(q, scope, OfSidecar)...)
	slices.Sort(out)
	return slices.Compact(out)
}

// meshWants are what every sidecar sees, whatever there is in the cluster.
func meshWants() []string {
	out := []string{want(MeshScope, KindSecret, RootsSecret)}
	for _, c := range []string{AppHTTP1, AppHTTP2, AppTCP, AppHTTPS, Passthrough, Blackhole} {
		out = append(out, want(MeshScope, KindCluster, c))
	}
	for _, name := range append([]string{Guards}, accessFilters...) {
		out = append(out, want(MeshScope, KindExtension, name))
	}
	return out
}
