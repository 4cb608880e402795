package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

const kindMeshPolicy = "MeshPolicy"

// referentsKey names what a section of a policy refers to, as the proxies at one kind of entrance find it: a
// Gateway speaks to servers by the TLS of BackendTLSPolicies.
func referentsKey(section string, kind room.Kind, policy string) string {
	return section + " " + string(kind) + " " + policy
}

// referentsOf are what was found of what a section of a policy refers to.
func (m *Mesh) referentsOf(q *incr.Query, r room.Room, policy string, kind room.Kind) []room.Referent {
	if p, ok := m.MeshPolicies.Get(q, policy); !ok || len(r.Refers(&p.Spec)) == 0 {
		return nil
	}
	return m.referents.Get(q, referentsKey(r.Name, kind, policy))
}

// findReferents follows the references of a referentsKey.
func (m *Mesh) findReferents(q *incr.Query, k string) (out []room.Referent) {
	parts := strings.SplitN(k, " ", 3)
	r, known := policy.ByName(parts[0])
	p, ok := m.MeshPolicies.Get(q, parts[2])
	if !known || !ok {
		return nil
	}
	for _, ref := range r.Refers(&p.Spec) {
		found, field := room.Referent{}, "spec."+r.Name+ref.Field
		if ref.Read != nil {
			out = append(out, m.referredSecrets(q, p, ref, field))
			continue
		}
		var bad Verdict
		if ref.Sealed != nil {
			_, bad = m.sealed(q, p, *ref.Sealed, field)
		} else if ref.Server != nil {
			found, bad = m.referredServer(q, p, room.Kind(parts[1]), ref, field)
		} else {
			found.Text, found.Stale, bad = m.referredText(q, p, ref, field)
		}
		if !bad.OK() && m.textBefore(q, p.Namespace, beforeOf(ref, p.Name)) != "" {
			ref.Instead = "until then what was there before stays in force"
		}
		if !bad.OK() && isShadow(p) {
			ref.Instead = "in Shadow nothing is refused for it"
		}
		if !bad.OK() {
			found = missing(bad, ref)
		}
		out = append(out, found)
	}
	return out
}

// beforeOf is where a policy's reference has what holds meanwhile.
func beforeOf(ref room.Reference, policy string) func(namespace string) string {
	if ref.Own() {
		return func(namespace string) string { return ref.Kept(namespace, policy) }
	}
	return ref.Before
}

// textBefore is what a reference led to last that nothing was wrong with; "": nothing is known of that.
func (m *Mesh) textBefore(q *incr.Query, namespace string, name func(namespace string) string) string {
	if name == nil {
		return ""
	}
	cm, ok := m.ConfigMaps.Get(q, key(v1alpha1.SystemNamespace, name(namespace)))
	if !ok {
		return ""
	}
	return cm.Data[room.KeptText]
}

func missing(bad Verdict, ref room.Reference) room.Referent {
	out := room.Referent{Reason: bad.Reason, Awaited: bad.Reason == reasonModuleNotFetched && !ref.Own()}
	instead := ref.Instead
	if out.Awaited {
		instead = "until it is there, proxies keep the extensions that they have by this policy; without any, " + instead
	}
	out.Problem = bad.Message + " (" + instead + ")"
	return out
}

// referredText is a text that is checked; stale says why it is that of before.
func (m *Mesh) referredText(q *incr.Query, p *v1alpha1.MeshPolicy, ref room.Reference, field string) (text, stale string, bad Verdict) {
	where := field
	switch {
	case ref.Own():
		return "", "", m.keptRemote(q, key(v1alpha1.SystemNamespace, ref.Kept(p.Namespace, p.Name)), ref.Remote, field)
	case ref.Kept != nil:
		unavailable := reasonKeysUnavailable
		if ref.OfProvider {
			unavailable = reasonProviderUnavailable
		}
		return m.keptText(q, key(v1alpha1.SystemNamespace, ref.Kept(p.Namespace, p.Name)), field, unavailable)
	case ref.ConfigMap != "":
		text, where, bad = m.textIn(q, p.Namespace, ref, field)
	case ref.Remote.URL != "":
		text, where, bad = m.fetchedText(q, ref.Remote, field)
	default:
		text = ref.Text
	}
	if !bad.OK() {
		return "", "", bad
	}
	if problem := ref.Check(text); problem != "" {
		return "", "", wrong(gwv1.PolicyReasonInvalid, "%s %s", where, problem)
	}
	if ref.Aside {
		return "", "", Verdict{}
	}
	return text, "", Verdict{}
}

// keptRemote says what is wrong with a text that the operator fetches for one policy, and keeps.
func (m *Mesh) keptRemote(q *incr.Query, k string, from room.Remote, field string) Verdict {
	cm, ok := m.ConfigMaps.Get(q, k)
	if ok && cm.Data[room.KeptText] != "" && cm.Data[room.KeptDigest] == from.SHA256 {
		return Verdict{}
	}
	if !ok || cm.Data[room.KeptWanted] != from.Key() {
		return notFetched(cluster.Fetched{}, field, from)
	}
	return notFetched(cluster.Fetched{Problem: cm.Data[room.KeptProblem], Awaited: cm.Data[room.KeptBad] == ""}, field, from)
}

// notFetched says why a text is not there.
func notFetched(found cluster.Fetched, field string, from room.Remote) Verdict {
	switch {
	case found.Problem == "":
		return wrong(reasonModuleNotFetched, "%s.url: %s is being fetched", field, from.URL)
	case found.Awaited:
		return wrong(reasonModuleNotFetched, "%s.url: %s %s", field, from.URL, found.Problem)
	}
	return wrong(gwv1.PolicyReasonInvalid, "%s: %s %s", field, from.URL, found.Problem)
}

// keptText is one that the operator fetches, and that it has checked.
func (m *Mesh) keptText(q *incr.Query, k, field, unavailable string) (text, stale string, bad Verdict) {
	cm, ok := m.ConfigMaps.Get(q, k)
	if !ok {
		return "", "", wrong(unavailable, "%s: it has not been fetched yet", field)
	}
	text, stale = cm.Data[room.KeptText], cm.Data[room.KeptProblem]
	switch {
	case text == "":
		return "", "", wrong(unavailable, "%s: %s", field, cmp.Or(stale, "it has not been fetched yet"))
	case stale != "":
		stale = fmt.Sprintf("%s: %s; what was fetched before stays in force", field, stale)
	}
	return text, stale, Verdict{}
}

// stale says which of what a policy refers to is as it was before, for it cannot be had now.
func (m *Mesh) stale(q *incr.Query, p *v1alpha1.MeshPolicy) (out string) {
	for _, r := range policy.All {
		for _, found := range m.referentsOf(q, r, key(p.Namespace, p.Name), room.Service) {
			if found.Stale != "" {
				out += found.Stale + ". "
			}
		}
	}
	return out
}

// textIn is one that a ConfigMap has.
func (m *Mesh) textIn(q *incr.Query, namespace string, ref room.Reference, field string) (text, where string, bad Verdict) {
	k, in := key(namespace, ref.ConfigMap), "data"
	cm, ok := m.ConfigMaps.Get(q, k)
	if !ok {
		return "", "", wrong(reasonConfigMapNotFound, "%s: ConfigMap %s does not exist: create it, or name another", field, k)
	}
	if text, ok = cm.Data[ref.Key]; ref.Binary {
		var raw []byte
		raw, ok = cm.BinaryData[ref.Key]
		text, in = string(raw), "binaryData"
	}
	if !ok {
		return "", "", wrong(reasonConfigMapNotFound, "%s.key: ConfigMap %s has no %s[%q]: add it, or name another", field, k, in, ref.Key)
	}
	return text, fmt.Sprintf("%s: %s[%q] of ConfigMap %s", field, in, ref.Key, k), Verdict{}
}

// fetchedText is one that was fetched.
func (m *Mesh) fetchedText(q *incr.Query, from room.Remote, field string) (text, where string, bad Verdict) {
	found, ok := m.Fetched.Get(q, from.Key())
	if !ok || found.Problem != "" {
		return "", "", notFetched(found, field, from)
	}
	return found.Text, fmt.Sprintf("%s: %s", field, from.URL), Verdict{}
}

// referredServer is a server as the proxies at a kind of entrance reach it.
func (m *Mesh) referredServer(q *incr.Query, p *v1alpha1.MeshPolicy, kind room.Kind, to room.Reference, field string) (none room.Referent, bad Verdict) {
	ref := *to.Server
	namespace := string(*cmp.Or(ref.Namespace, new(gwv1.Namespace(p.Namespace))))
	if namespace != p.Namespace && !m.granted(q, kindMeshPolicy, p.Namespace, "Service", namespace, string(ref.Name)) {
		return none, m.notGranted(q, reference{kindMeshPolicy, p.Namespace, "Service", namespace, string(ref.Name)}, field)
	}
	from := referrer{route: route{Kind: kindMeshPolicy, ObjectMeta: &metav1.ObjectMeta{Namespace: p.Namespace}}, Open: kind == room.Service, HTTP2: !to.ByHTTP}
	cluster, bad := m.backend(q, from, ref, field)
	if !bad.OK() {
		return none, bad
	}
	return room.Referent{Cluster: Asking(cluster), Reached: cluster, Authority: authority(ref, p.Namespace)}, Verdict{}
}

// referents are the servers that sections of policies refer to about the requests of a rule.
func referents(r Rule) (out []room.Referent) {
	for _, d := range slices.Concat(r.Policies, r.Guards) {
		for _, found := range d.Referents {
			if found.Cluster != "" {
				out = append(out, found)
			}
		}
	}
	return out
}

// referredWants are what sidecars need to reach them.
func referredWants(scope string, rules []Rule) (out []string) {
	for _, rule := range rules {
		for _, r := range referents(rule) {
			out = append(out, want(scope, KindCluster, r.Cluster), want(scope, KindCluster, r.Reached), want(scope, KindEndpoints, parseCluster(r.Reached).endpoints()))
		}
	}
	return out
}

// lacks says what is missing of what a policy's sections refer to, whose word holds all the same.
func (m *Mesh) lacks(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) Verdict {
	problems := append(append(m.aroundGuards(q, p, s), m.unclaimed(q, p, s)...), m.askedTwice(q, p, s))
	problems = append(problems, m.torn(q, p, s)...)
	if ofRoutes(s) {
		if bad := m.quarantined(q, routeKey(string(s.Kind), key(s.Namespace, s.Name))); !bad.OK() {
			problems = append(problems, wrong(reasonRefused, "%s is not served, which may be by what this policy says of it: %s", s, bad.Message))
		}
	}
	kinds := m.entranceKinds(q, s)
	for _, r := range policy.All {
		if r.Idle == nil || !r.Has(&p.Spec) {
			continue
		}
		if idle := r.Idle(&p.Spec, kinds); idle != "" {
			problems = append(problems, wrong(reasonUnsupportedProtocol, "spec.%s%s (%s)", r.Name, idle, s))
		}
	}
	for _, kind := range lookedForBy(kinds) {
		for _, r := range policy.All {
			for _, v := range m.notFound(q, r, p, kind) {
				if !slices.Contains(problems, v) {
					problems = append(problems, v)
				}
			}
		}
	}
	return join(worstFirst(problems))
}

// notFound says what is missing of what a section refers to, as it is looked for by the proxies at a kind of entrance.
func (m *Mesh) notFound(q *incr.Query, r room.Room, p *v1alpha1.MeshPolicy, kind room.Kind) (out []Verdict) {
	refs := r.Refers(&p.Spec)
	for i, found := range m.referentsOf(q, r, key(p.Namespace, p.Name), kind) {
		switch {
		case found.Problem != "":
			out = append(out, Verdict{found.Reason, found.Problem})
		case r.Guarded():
			out = append(out, m.unanswered(q, "spec."+r.Name+refs[i].Field, refs[i], found))
		}
	}
	return out
}

// lookedForBy are the kinds of entrances of the proxies that look for what a policy refers to.
func lookedForBy(kinds []room.Kind) (out []room.Kind) {
	for _, kind := range kinds {
		switch kind {
		case room.Mesh, room.Namespace:
			out = append(out, room.Gateway, room.Service)
		case room.ServiceAccount, room.Pods:
			out = append(out, room.Service)
		default:
			out = append(out, kind)
		}
	}
	return out
}

// entranceKinds are those of the entrances by which requests come to a subject; of a route that has none yet,
// a Service.
func (m *Mesh) entranceKinds(q *incr.Query, s subject) (out []room.Kind) {
	if !ofRoutes(s) {
		return []room.Kind{s.Kind}
	}
	for _, a := range m.attached.Get(q, routeKey(string(s.Kind), key(s.Namespace, s.Name))) {
		for _, e := range m.entrances(q, a) {
			if !slices.Contains(out, e.kind) {
				out = append(out, e.kind)
			}
		}
	}
	if len(out) == 0 {
		return []room.Kind{room.Service}
	}
	return out
}
