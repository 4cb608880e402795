package mesh

import (
	"fmt"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// referredSecrets are the credentials that some Secrets of a policy's namespace have. One that is not there, or is
// wrong in part, leaves what the rest of them has.
func (m *Mesh) referredSecrets(q *incr.Query, p *v1alpha1.MeshPolicy, ref room.Reference, field string) room.Referent {
	var there []room.Credentials
	var gone []string
	for _, name := range ref.Secrets {
		k := key(p.Namespace, name)
		if s, ok := m.Secrets.Get(q, k); ok && s.Type == v1alpha1.SecretTypeCredentials {
			there = append(there, room.Credentials{Secret: k, Data: s.Data})
			continue
		}
		gone = append(gone, fmt.Sprintf("there is no Secret %s of type %q: create it, or name another", k, v1alpha1.SecretTypeCredentials))
	}
	pairs, flaws := ref.Read(there)
	out := room.Referent{Text: pairs.Text()}
	if len(gone) > 0 {
		out.Reason = reasonSecretNotFound
	}
	if len(flaws) > 0 {
		out.Reason = string(gwv1.PolicyReasonInvalid)
	}
	if out.Reason != "" {
		out.Problem = fmt.Sprintf("%s: %s (%s)", field, room.Flaws(append(flaws, gone...)), ref.Instead)
	}
	return out
}
