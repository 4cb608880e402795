package mesh

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// Remarks are of what is served as it is written and hardly as it is meant: a status that keeps silent
// about it would send its reader to look elsewhere.

// remarks are those on a rule as it was resolved.
func (r referrer) remarks(rule Rule, spec *ruleSpec, field string) (out []string) {
	if rule.Fail != 0 && !slices.ContainsFunc(spec.Filters, refers) && rule.Unresolved == 0 && len(rule.Backends) == 0 {
		if allZero(spec.BackendRefs) {
			out = append(out, fmt.Sprintf("%s.backendRefs: none has a weight above 0, so that %s: give one a weight", field, r.lost()))
		}
	}
	for i, m := range spec.Matches {
		at := fmt.Sprintf("%s.matches[%d]", field, i)
		if m.Path != nil && m.Path.Value != nil && spec.Calls == nil && literal(m.Path) && strings.Contains(*m.Path.Value, "*") {
			out = append(out, fmt.Sprintf("%s.path.value: the * of %q stands for itself: a PathPrefix takes all that is below it, and type RegularExpression has wildcards", at, *m.Path.Value))
		}
		out = append(out, headerRemarks(m.Headers, at)...)
	}
	out = append(out, modifierRemarks(spec.Filters, field)...)
	for i, b := range spec.BackendRefs {
		out = append(out, modifierRemarks(b.Filters, fmt.Sprintf("%s.backendRefs[%d]", field, i))...)
	}
	return out
}

// lost is what becomes of what a rule sends nowhere.
func (r referrer) lost() string {
	switch {
	case r.Kind == UDPRoute:
		return "its datagrams are dropped"
	case r.bytes != nil:
		return "its connections are closed"
	}
	return "its requests are " + r.answer()
}

// allZero holds for backendRefs of which none has a weight, and for none at all.
func allZero(refs []gwv1.HTTPBackendRef) bool {
	return !slices.ContainsFunc(refs, func(b gwv1.HTTPBackendRef) bool { return b.Weight == nil || *b.Weight != 0 })
}

// refers says whether a filter is one that is told of as a reference.
func refers(f gwv1.HTTPRouteFilter) bool {
	return f.Type == gwv1.HTTPRouteFilterExtensionRef || f.Type == gwv1.HTTPRouteFilterExternalAuth
}

func literal(p *gwv1.HTTPPathMatch) bool {
	return p.Type == nil || *p.Type != gwv1.PathMatchRegularExpression
}

// headerRemarks are on names that match nothing, or are not read.
func headerRemarks(headers []gwv1.HTTPHeaderMatch, field string) (out []string) {
	seen := map[string]bool{}
	for i, h := range headers {
		name := strings.ToLower(string(h.Name))
		if strings.Contains(name, "_") {
			out = append(out, fmt.Sprintf("%s.headers[%d].name: requests with a header that has an underscore in its name are answered 400, so that nothing matches %s: use another name", field, i, h.Name))
		}
		if seen[name] {
			out = append(out, fmt.Sprintf("%s.headers[%d].name: %s is named before, and only the first counts: remove one", field, i, h.Name))
		}
		seen[name] = true
	}
	return out
}

// modifierRemarks are on names that the proxies of backends refuse.
func modifierRemarks(fs []gwv1.HTTPRouteFilter, field string) (out []string) {
	for i, f := range fs {
		if f.RequestHeaderModifier == nil {
			continue
		}
		for _, h := range slices.Concat(f.RequestHeaderModifier.Set, f.RequestHeaderModifier.Add) {
			if strings.Contains(string(h.Name), "_") {
				out = append(out, fmt.Sprintf("%s.filters[%d].requestHeaderModifier: %s has an underscore in its name, and a backend with a sidecar answers 400 to that: use another name", field, i, h.Name))
			}
		}
	}
	return out
}

// standing is how a route is attached that nothing keeps out, with the remarks on its rules.
func (m *Mesh) standing(q *incr.Query, k string, a attached, rules resolved) string {
	said := m.passedOver(q, k, a)
	if said == "" {
		said = m.unserved(q, a)
	}
	if said == "" {
		said = "The route is served."
	}
	return but(said, rules.Remarks)
}

// but is what is said of something, with the remarks on it.
func but(said string, remarks []string) string {
	if len(remarks) > 0 {
		said += " But " + strings.Join(remarks, "; ") + "."
	}
	return bounded(said)
}

// unserved tells of a Gateway whose listeners took a route and do not serve, or is "".
func (m *Mesh) unserved(q *incr.Query, a attached) string {
	if len(a.Places) > 0 && !m.gateways.Get(q, a.Gateway).keeps() {
		return fmt.Sprintf("The route is accepted, but Gateway %s is not: see its conditions.", a.Gateway)
	}
	var out []string
	for _, p := range a.Places {
		l, ok := m.listenerOf(q, a.Gateway, p.Listener)
		if !ok || l.served() {
			return ""
		}
		if name := string(l.Name); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("The route is accepted, but what it is attached to, %s of %s, does not serve: see the conditions there.", strings.Join(out, ", "), a.parent())
}

// listenerRemarks are those on a listener that is accepted, and when its certificates end.
func (m *Mesh) listenerRemarks(q *incr.Query, l listener) (remarks, ends string) {
	var out []string
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		out = selectorRemarks(l.AllowedRoutes.Namespaces)
	}
	if l.TLS != nil && len(l.TLS.Options) > 0 {
		out = append(out, "tls.options are not read: remove them.")
	}
	if l.TLS != nil && !l.ends() && len(l.TLS.CertificateRefs) > 0 {
		out = append(out, "tls.certificateRefs are not read where tls.mode is Passthrough: remove them, or set mode: Terminate.")
	}
	certified, ends := m.certified(q, l)
	if certified != "" {
		out = append(out, certified)
	}
	return strings.Join(out, " "), ends
}

// certified tells of certificates none of which is for the listener's hostname, and which one ends first.
// Whether it has ended is for its reader to see: nothing here has a clock.
func (m *Mesh) certified(q *incr.Query, l listener) (remark, ends string) {
	var first keyPair
	var names []string
	for _, s := range l.Secrets {
		pair := m.secrets.Get(q, strings.TrimPrefix(s, "secret/"))
		if !pair.problem.OK() {
			return "", "" // which is told of, and the one before it is in force
		}
		names = append(names, pair.Names...)
		if first.Name == "" || pair.Ends.Before(first.Ends) {
			first = pair
		}
	}
	if first.Name == "" {
		return "", ""
	}
	if host := l.host(); host != "" && !slices.ContainsFunc(names, func(n string) bool { _, is := intersect(host, n); return is }) {
		remark = fmt.Sprintf("hostname: no certificate of tls.certificateRefs is for %s, so that clients will refuse it: the names there are %s.", host, orNone(names))
	}
	return remark, fmt.Sprintf("The certificate of Secret %s ends on %s.", strings.TrimPrefix(first.Name, "secret/"), first.Ends.UTC().Format("2006-01-02"))
}

// orNone lists names for a message.
func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// selectorRemarks are on namespaces that no selector can select.
func selectorRemarks(n *gwv1.RouteNamespaces) []string {
	from := gwv1.NamespacesFromSame
	if n.From != nil {
		from = *n.From
	}
	const field = "allowedRoutes.namespaces.selector"
	switch {
	case from != gwv1.NamespacesFromSelector && n.Selector != nil:
		return []string{fmt.Sprintf("%s is not read where from is %s: set from: Selector, or remove it.", field, from)}
	case from != gwv1.NamespacesFromSelector:
		return nil
	case n.Selector == nil:
		return []string{field + " is missing, so that routes of no namespace are allowed: name labels of the namespaces."}
	}
	if _, err := metav1.LabelSelectorAsSelector(n.Selector); err != nil {
		return []string{fmt.Sprintf("%s: %v, so that routes of no namespace are allowed: correct it.", field, err)}
	}
	return nil
}
