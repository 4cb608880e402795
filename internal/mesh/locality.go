package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// A policy may have callers at one place be sent elsewhere than those at another. Only the endpoints that it is
// about then have variants, one for each locality that some proxy is at; all else is the same for all.

// topology are the labels of Nodes that count whatever policies name.
var topology = []string{corev1.LabelTopologyRegion, corev1.LabelTopologyZone}

// localities are who is where.
type localities struct {
	// localityOf is that of a Node, by its name; labelsNamed are, as one group, the labels that it goes by
	// because some policy names them, labelsOwn those by some Service.
	localityOf             *incr.Memo[string, room.Locality]
	labelsNamed, labelsOwn *incr.View[string, string]
	nodesWith              *incr.Index[string, string] // by the names of the labels that they have
	// proxiesAt are the pods of proxies by the scopes At their locality whose names they see, localitiesIn
	// those scopes by what they are without the locality.
	proxiesAt    *incr.View[string, string]
	localitiesIn *incr.View[string, string]
	// arrangements are, by the name of endpoints, what arranges these: one section or none.
	arrangements *incr.Memo[string, []room.Decided]
	// local says of virtual hosts, and of Service ports' routes, whether some rule there goes by localities.
	local *incr.Memo[string, bool]
}

func (m *Mesh) layLocalities(t *cluster.Tables) (out localities) {
	named := incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return labelsIn(p) })
	own := incr.NewIndex(t.Services, func(_ string, s *corev1.Service) []string { return labelsOf(s) })
	out.labelsNamed = incr.NewView(named, "labelsNamed", all)
	out.labelsOwn = incr.NewView(own, "labelsOwn", all)
	out.nodesWith = incr.NewIndex(t.Nodes, func(_ string, n *corev1.Node) []string { return slices.Collect(maps.Keys(n.Labels)) })
	out.localityOf = incr.NewMemo(t.Graph, "locality", same[room.Locality], m.readLocality)
	out.proxiesAt = incr.NewView(t.Pods, "proxiesAt", m.scopesAt)
	out.localitiesIn = incr.NewView[string](out.proxiesAt, "localitiesIn", func(_ *incr.Query, at string) []string {
		_, scope := parseAt(at)
		return []string{scope}
	})
	out.arrangements = incr.NewMemo(t.Graph, "arrangement", same[[]room.Decided], m.decideArrangement)
	out.local = incr.NewMemo(t.Graph, "local", same[bool], m.isLocal)
	return out
}

// labelsIn are the labels of Nodes that a policy goes by.
func labelsIn(p *v1alpha1.MeshPolicy) (out []string) {
	for _, r := range policy.All {
		if r.ByLabels != nil && r.Has(&p.Spec) {
			out = append(out, r.ByLabels(r.Decide([]room.Entry{{Spec: &p.Spec}}))...)
		}
	}
	return out
}

// labelsOf are the labels of Nodes that a Service goes by itself.
func labelsOf(s *corev1.Service) (out []string) {
	for _, r := range policy.All {
		if r.Default == nil {
			continue
		}
		if d, says := r.Default(s); says {
			out = append(out, r.ByLabels(d)...)
		}
	}
	return out
}

// unlabelled says which labels a policy goes by that no Node has; "": none.
func (m *Mesh) unlabelled(q *incr.Query, p *v1alpha1.MeshPolicy) string {
	var missing []string
	for _, label := range labelsIn(p) {
		if len(m.nodesWith.Get(q, label)) == 0 {
			missing = append(missing, label)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("No Node has the label %s, by which it goes. ", strings.Join(missing, " or "))
}

func (m *Mesh) readLocality(q *incr.Query, node string) room.Locality {
	n, ok := m.Nodes.Get(q, node)
	if !ok {
		return ""
	}
	return room.LocalityOf(n.Labels, slices.Concat(topology, m.labelsNamed.Get(q, ""), m.labelsOwn.Get(q, "")))
}

// Proxy says which pod it is that a proxy's token names, what the proxy sees wherever it is, and where it is.
type Proxy struct {
	UID, Scope string
	At         room.Locality
}

// Proxy is that of a pod; without a Scope if it is none, by its labels or by what was injected.
func (m *Mesh) Proxy(q *incr.Query, k string) Proxy {
	p, ok := m.Pods.Get(q, k)
	if !ok {
		return Proxy{}
	}
	out := Proxy{UID: string(p.UID), Scope: m.PodIdentity(q, k).Scope}
	if _, ofGateway := p.Labels[gwv1.GatewayNameLabelKey]; out.Scope == "" && ofGateway {
		out.Scope = key(p.Namespace, p.Spec.ServiceAccountName)
	}
	if out.Scope == "" {
		return Proxy{}
	}
	if p.Spec.NodeName != "" {
		out.At = m.localityOf.Get(q, p.Spec.NodeName)
	}
	return out
}

// scopesAt are the scopes At its locality of a pod that is a proxy.
func (m *Mesh) scopesAt(q *incr.Query, k string) (out []string) {
	p := m.Proxy(q, k)
	if p.At == "" {
		return nil
	}
	for _, scope := range SeenIn(p.Scope) {
		out = append(out, At(p.At, scope))
	}
	return out
}

// LocalWants are those for proxies of a Want's scope whose locality is known, of endpoints that are arranged
// by that and of routes that have rules by that.
func (m *Mesh) LocalWants(q *incr.Query, k string) (out []string) {
	w := ParseWant(k)
	if w.Kind != KindEndpoints {
		return m.localRoutes(q, w)
	}
	for _, by := range m.arrangements.Get(q, w.Name) {
		r, _ := policy.ByName(by.Section)
		labels := r.ByLabels(by)
		for _, scope := range m.localitiesIn.Get(q, w.Scope) {
			at, _ := parseAt(scope)
			if from := at.Only(labels); from != "" {
				out = append(out, Want{scope, w.Kind, w.Name, string(from)}.Key())
			}
		}
	}
	return out
}

// localRoutes are those of routes. Proxies at a locality see no variant of some consumers' there unless they are it:
// so all have them, or none.
func (m *Mesh) localRoutes(q *incr.Query, w Want) (out []string) {
	if !m.local.Get(q, w.Name) {
		return nil
	}
	for _, scope := range m.localitiesIn.Get(q, w.Scope) {
		at, _ := parseAt(scope)
		out = append(out, Want{scope, w.Kind, w.Name, At(at, w.Variant)}.Key())
	}
	return out
}

// isLocal says whether a policy has some rule, of a virtual host or of a Service port's routes by that name, go by
// where proxies are.
func (m *Mesh) isLocal(q *incr.Query, name string) bool {
	for _, k := range m.routesIn(q, name) {
		kind, rest, _ := strings.Cut(k, "/")
		namespace, route, _ := strings.Cut(rest, "/")
		for _, p := range m.about(q, []string{group(room.Kind(kind), namespace, route)}, func(subject) bool { return true }) {
			for _, r := range policy.All {
				if r.Takes != nil && r.Has(&p.Spec) && len(r.ByLabels(r.Decide([]room.Entry{{Spec: &p.Spec}}))) > 0 {
					return true
				}
			}
		}
	}
	return false
}

// routesIn are the routes, by routeKey, that some variant of a virtual host, or of a Service port's routes, has.
func (m *Mesh) routesIn(q *incr.Query, name string) []string {
	if !strings.HasPrefix(name, OutboundListener+"/") {
		return m.placedOn.Get(q, name)
	}
	at := parseServiceListener(name)
	return m.frontedBy.Get(q, portKey(at.service, at.port))
}

// decideArrangement is what arranges the endpoints of that name. Those of UDP are what their Gateway sends to.
func (m *Mesh) decideArrangement(q *incr.Query, name string) []room.Decided {
	if IsSession(name) {
		return m.sessionArrangement(q, name)
	}
	if !isService(name) {
		return nil
	}
	at := parseCluster(name)
	_, port, ok := m.portOf(q, at.service, at.port)
	if !ok {
		return nil
	}
	e := entrance{kind: room.Service, key: at.service, port: port}
	return m.decideTraffic(q, m.about(q, outsideIn(e), e.takes), e, func(r room.Room, _ room.Decided) bool { return r.Arrange != nil })
}

// arranged are a Service port's endpoints as a section arranges them for callers at a locality.
func (m *Mesh) arranged(q *incr.Query, by room.Decided, from room.Locality, all addresses) (out []Locality) {
	r, _ := policy.ByName(by.Section)
	labels := slices.Concat(topology, r.ByLabels(by))
	groups, usable := m.grouped(q, labels, all)
	for i, s := range r.Arrange(by, from, groups) {
		at := Locality{Region: groups[i].At.Value(corev1.LabelTopologyRegion), Zone: groups[i].At.Value(corev1.LabelTopologyZone), Priority: s.Priority}
		if !slices.Contains(topology, s.Near) {
			at.Within = s.Near
		}
		if len(usable[i]) > 0 {
			out = addLocality(out, at, s.Weight, usable[i])
		}
	}
	slices.SortFunc(out, byPlace)
	return out
}

func byPlace(a, b Locality) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Within, b.Within))
}

// grouped are endpoints by what some labels say of their Nodes, in order, with those of each that may be sent to.
func (m *Mesh) grouped(q *incr.Query, labels []string, all addresses) (groups []room.Group, usable [][]Endpoint) {
	type spot struct{ node, zone string }
	spots, places := map[spot]int{}, map[room.Locality]int{}
	place := func(e Endpoint) int {
		i, known := spots[spot{e.Node, e.Zone}]
		if !known {
			at := m.localityOfEndpoint(q, e).Only(labels)
			if i, known = places[at]; !known {
				i, groups, usable = len(groups), append(groups, room.Group{At: at}), append(usable, nil)
				places[at] = i
			}
			spots[spot{e.Node, e.Zone}] = i
		}
		groups[i].All++
		return i
	}
	for _, e := range all.usable() {
		i := place(e)
		groups[i].Ready++
		usable[i] = append(usable[i], e)
	}
	for _, e := range all.missing() {
		place(e)
	}
	return groups, usable
}

// localityOfEndpoint is that of its Node or, of one that is not known, the zone that its EndpointSlice tells.
func (m *Mesh) localityOfEndpoint(q *incr.Query, e Endpoint) room.Locality {
	if e.Node != "" {
		if at := m.localityOf.Get(q, e.Node); at != "" {
			return at
		}
	}
	return room.LocalityOf(map[string]string{corev1.LabelTopologyZone: e.Zone}, topology)
}

// addLocality adds endpoints to those that are at the same place and of the same priority.
func addLocality(to []Locality, at Locality, weight uint32, endpoints []Endpoint) []Locality {
	i := slices.IndexFunc(to, func(l Locality) bool {
		return l.Priority == at.Priority && l.Region == at.Region && l.Zone == at.Zone && l.Within == at.Within
	})
	if i < 0 {
		i, to = len(to), append(to, at)
	}
	to[i].Weight += weight
	if to[i].Addresses = append(to[i].Addresses, endpoints...); len(to[i].Addresses) > len(endpoints) {
		slices.SortFunc(to[i].Addresses, byAddress)
	}
	return to
}
