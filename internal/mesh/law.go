package mesh

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// What a policy says in a section with Read is read once, and what it comes to is made once for all who are called
// and do not differ in what it asks of them:
//
//	MeshPolicy ┬→ laws → rulings, by what is asked of pods' labels and ServiceAccounts, → guards
//	ConfigMaps ┘ by what is found in them

// lawKey is a section of a policy.
func lawKey(r room.Room, policy string) string { return r.Name + " " + policy }

// readLaw is what is read of a section; nil if the policy has none.
func (m *Mesh) readLaw(q *incr.Query, k string) room.Law {
	section, k, _ := strings.Cut(k, " ")
	r, ok := policy.ByName(section)
	p, has := m.MeshPolicies.Get(q, k)
	if !ok || !has || !r.Has(&p.Spec) {
		return nil
	}
	return r.Read(k, &p.Spec, m.surroundings(q, k))
}

func (m *Mesh) surroundings(q *incr.Query, policy string) room.Surroundings {
	namespace, _, _ := strings.Cut(policy, "/")
	return room.Surroundings{
		TrustDomain: m.trustDomain(q),
		GatewayAccount: func(namespace, name string) string {
			_, account, _ := strings.Cut(m.Scope(q, key(namespace, name)), "/")
			return account
		},
		Data: func(of v1alpha1.AuthorizationData) document.Found {
			text, err := json.Marshal(dataKey{namespace, of})
			if err != nil {
				panic(err) // it is plain data
			}
			return m.data.Get(q, string(text))
		},
		Modules: func(of v1alpha1.AuthorizationRego) opa.Text { return m.modules.Get(q, moduleKey(policy, of)).Text },
	}
}

// module is one in Rego: of one that cannot be read now, as it was before.
type module struct {
	opa.Text
	names opa.Names // that it asks for
}

// moduleKey names what a policy refers to: the names of ConfigMaps and of their keys have no space.
func moduleKey(policy string, of v1alpha1.AuthorizationRego) string {
	namespace, name, _ := strings.Cut(policy, "/")
	if of.ConfigMapRef != nil {
		return key(namespace, of.ConfigMapRef.Name) + " " + of.ConfigMapRef.Key
	}
	return authorization.Fetched(namespace, name)
}

// findModule is remembered, for each policy that names it and all whom these are about ask for it.
func (m *Mesh) findModule(q *incr.Query, k string) (out module) {
	if at, inIt, is := strings.Cut(k, " "); is {
		out.Text = m.moduleIn(q, at, inIt)
	} else if cm, ok := m.ConfigMaps.Get(q, key(v1alpha1.SystemNamespace, k)); ok && cm.Data[room.KeptText] != "" {
		out.Text = opa.Text{Text: cm.Data[room.KeptText]}
	} else {
		out.Problem = "has not been fetched"
	}
	out.names = opa.NamesInModule(out.Text.Text)
	return out
}

// moduleIn is that of a ConfigMap or, where OPA cannot read it, what was there before.
func (m *Mesh) moduleIn(q *incr.Query, at, inIt string) (out opa.Text) {
	namespace, name, _ := strings.Cut(at, "/")
	out.Problem = fmt.Sprintf("data[%q] of ConfigMap %s is not there", inIt, at)
	if cm, ok := m.ConfigMaps.Get(q, at); ok {
		if text, has := cm.Data[inIt]; has {
			out = opa.Text{Text: text}
		}
	}
	if out.Problem != "" || opa.CheckModule(out.Text) != "" {
		ref := v1alpha1.RegoRef{Name: name, Key: inIt}
		if before := m.textBefore(q, namespace, func(namespace string) string { return authorization.Before(namespace, ref) }); before != "" {
			out = opa.Text{Text: before}
		}
	}
	return out
}

// dataKey is what policies of a namespace look for in a document.
type dataKey struct {
	Namespace string
	Of        v1alpha1.AuthorizationData
}

// findData is remembered by what is looked for: a change of a document is one to those only who find something else.
func (m *Mesh) findData(q *incr.Query, text string) document.Found {
	var k dataKey
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		panic(err) // surroundings wrote it
	}
	ref := k.Of.ConfigMapRef
	cm, ok := m.ConfigMaps.Get(q, key(k.Namespace, ref.Name))
	found := document.Found{Awaited: true, Problem: "is not there"}
	if ok {
		if text, has := cm.Data[ref.Key]; has {
			found = document.Find(text, k.Of.Path, k.Of.By != "")
		}
	}
	if found.Problem != "" {
		found.Problem = fmt.Sprintf("data[%q] of ConfigMap %s %s", ref.Key, key(k.Namespace, ref.Name), found.Problem)
	}
	return found
}

// rulingKey is what a ruling depends on.
type rulingKey struct {
	Law    string
	Called room.Destination
}

// String has parts that have none of the bytes between them. It is made for each pair of a policy and whom it is about.
func (k rulingKey) String() string {
	parts := []string{k.Law, strconv.FormatBool(k.Called.Gateway), k.Called.Namespace, k.Called.ServiceAccount}
	for _, name := range slices.Sorted(maps.Keys(k.Called.Labels)) {
		parts = append(parts, name, k.Called.Labels[name])
	}
	return strings.Join(parts, "\x00")
}

func parseRulingKey(text string) rulingKey {
	parts := strings.Split(text, "\x00")
	out := rulingKey{parts[0], room.Destination{Gateway: parts[1] == "true", Namespace: parts[2], ServiceAccount: parts[3]}}
	for i := 4; i+1 < len(parts); i += 2 { // names that no API server takes may have that byte
		if out.Called.Labels == nil {
			out.Called.Labels = map[string]string{}
		}
		out.Called.Labels[parts[i]] = parts[i+1]
	}
	return out
}

// lawFor is what a section with Read comes to for who is called; nil in others.
func (m *Mesh) lawFor(q *incr.Query, r room.Room, policy string, called room.Destination) any {
	if r.Read == nil {
		return nil
	}
	k := lawKey(r, policy)
	l := m.laws.Get(q, k)
	if l == nil {
		return nil
	}
	return m.rulings.Get(q, rulingKey{k, called.Only(l)}.String())
}

func (m *Mesh) ruling(q *incr.Query, text string) any {
	k := parseRulingKey(text)
	if l := m.laws.Get(q, k.Law); l != nil {
		return l.For(k.Called)
	}
	return nil
}

func (w workload) destination() room.Destination {
	return room.Destination{Namespace: w.Namespace, ServiceAccount: w.ServiceAccount, Labels: w.Labels}
}

// destinationOf is a Gateway, as one who is called.
func (m *Mesh) destinationOf(q *incr.Query, gateway string) room.Destination {
	namespace, account, _ := strings.Cut(m.Scope(q, gateway), "/")
	out := room.Destination{Gateway: true, Namespace: namespace, ServiceAccount: account}
	if g := m.gateways.Get(q, gateway); g.Gateway != nil {
		out.Labels = g.Gateway.Labels
	}
	return out
}

// toldRules are how the rules of a policy are decided.
func (m *Mesh) toldRules(q *incr.Query, p *v1alpha1.MeshPolicy) (out []v1alpha1.RuleStatus) {
	m.eachLaw(q, p, func(_ room.Room, l room.Law) { out = append(out, l.Told()...) })
	return out
}

func (m *Mesh) eachLaw(q *incr.Query, p *v1alpha1.MeshPolicy, do func(room.Room, room.Law)) {
	for _, r := range policy.All {
		if r.Read == nil || !r.Has(&p.Spec) {
			continue
		}
		if l := m.laws.Get(q, lawKey(r, key(p.Namespace, p.Name))); l != nil {
			do(r, l)
		}
	}
}

// lawProblem is what is wrong with what a policy says, or says in vain of a subject: it holds all the same.
func (m *Mesh) lawProblem(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (out Verdict) {
	m.eachLaw(q, p, func(r room.Room, l room.Law) {
		if problem, instead := l.Problem(isShadow(p)); problem != "" {
			if isShadow(p) {
				instead = "the rule counts as one that would let nobody in; nothing is refused for it"
			}
			out = first(out, wrong(gwv1.PolicyReasonInvalid, "spec.%s%s. Until then %s", r.Name, problem, instead))
		}
		if names := l.Requests(); len(names) > 0 && s.Kind == room.Service && !m.carriesRequests(q, s) {
			out = first(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s: %s carries no requests of HTTP or gRPC, so that rules which ask for more than who connects, from where and to which port let nobody in there, and those that deny keep out all that the rest of them is about: %s. Name another target, leave out what they ask of requests, or declare the port's protocol by its appProtocol or name", s.Field, r.Name, s, strings.Join(names, ", ")))
		}
	})
	return out
}
