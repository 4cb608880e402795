package mesh

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// overlapping is the condition of a listener over TLS some of whose hostnames another one of its port has
// too: a client that shares connections meets one's TLS with requests that are the other's, which are
// answered 421. It is nil, and must not be False, where there is none.
func (m *Mesh) overlapping(q *incr.Query, gateway string, l listener, generation int64) *metav1.Condition {
	other, is := m.overlap(q, gateway, l)
	if !is {
		return nil
	}
	return &metav1.Condition{
		Type: string(gwv1.ListenerConditionOverlappingTLSConfig), Status: metav1.ConditionTrue,
		Reason: string(gwv1.ListenerReasonOverlappingHostnames), ObservedGeneration: generation,
		Message: fmt.Sprintf("listener %s: port %d also serves %s: a client that uses one connection for names of both may be answered 421: let them not overlap, or use another port", l.Name, l.Port, other),
	}
}

// overlap is what another served listener of the port has that is l's too. A hostname of a ListenerSet is
// not told: who reads this may not be who wrote that.
func (m *Mesh) overlap(q *incr.Query, gateway string, l listener) (other string, is bool) {
	if !overTLS(l.Protocol) || !l.served() {
		return "", false
	}
	port := l.resource(gateway)
	for _, o := range m.gateways.Get(q, gateway).Listeners {
		if o.resource(gateway) == port && o.served() && o.host() != l.host() && (contains(l.host(), o.host()) || contains(o.host(), l.host())) {
			return fmt.Sprintf("hostname %q", cmp.Or(o.host(), "*")), true
		}
	}
	other = "hostnames of this one, of a ListenerSet"
	for _, wild := range wildcards(cmp.Or(l.host(), "*")) {
		if wild == "*" {
			wild = ""
		}
		if len(m.servedBy.Get(q, hostKey(port, wild))) > 0 {
			return other, true
		}
	}
	return other, len(m.hostsBelow.Get(q, hostKey(port, cmp.Or(l.host(), "*")))) > 0
}
