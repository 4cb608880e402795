package mesh

import (
	"github.com/weft-mesh/weft/internal/incr"
)

// trustDomain is the mesh's, by which its SPIFFE IDs begin.
func (m *Mesh) trustDomain(*incr.Query) string { return "cluster.local" }

// SPIFFEID is the identity of a ServiceAccount ("namespace/name") in a trust domain.
func SPIFFEID(trustDomain, namespace, serviceAccount string) string {
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + serviceAccount
}

// Identity is the certificate and key of a ServiceAccount ("namespace/name"), under the name
// IdentitySecret; false while it has none.
func (m *Mesh) Identity(*incr.Query, string) (Secret, bool) { return Secret{}, false }

// Roots are the authorities, in PEM, that peers' certificates are verified by.
func (m *Mesh) Roots(*incr.Query) []byte { return nil }
