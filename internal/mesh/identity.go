package mesh

import (
	"fmt"
	"slices"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// The names under which a proxy has its own certificate, and the roots by which it verifies others.
const (
	IdentitySecret = "identity"
	RootsSecret    = "roots"
)

// Identity is what is known of a ServiceAccount that is to have an identity.
type Identity struct {
	Account     string            // "namespace/name"
	Wanted      bool              // false of one that no pod has any more
	Certificate *cmv1.Certificate // wanted of cert-manager; nil while there is no issuer, or none is needed
	Signed      bool              // the certificate in use is one that the operator signed
	Problem     string            // why there is no certificate that can be used; empty if there is
	Current     bool              // the certificate is what the change of root leads to,
	Serial      uint64            // as of this state of it
}

// leaf is the certificate of a ServiceAccount, checked.
type leaf struct {
	pki.Leaf
	From    pki.Issuer
	Signed  bool
	problem string
}

// SPIFFEID is the identity of a ServiceAccount in a trust domain.
func SPIFFEID(trustDomain, namespace, serviceAccount string) string {
	return pki.SPIFFEID(trustDomain, key(namespace, serviceAccount))
}

// readSettings are what the Mesh of that name says of identity.
func (m *Mesh) readSettings(q *incr.Query, name string) pki.Settings {
	settings, _ := m.Meshes.Get(q, name)
	return pki.SettingsOf(settings)
}

// readTrust is the state of the roots that a ConfigMap holds.
func (m *Mesh) readTrust(q *incr.Query, k string) pki.State {
	cm, ok := m.ConfigMaps.Get(q, k)
	if !ok {
		return pki.State{}
	}
	state, _ := pki.ParseState(cm) // controllers/trust.go says what is wrong with it
	return state
}

func (m *Mesh) settings(q *incr.Query) pki.Settings { return m.meshes.Get(q, v1alpha1.MeshName) }

// Trust is the state of the roots; its zero value while there is none.
func (m *Mesh) Trust(q *incr.Query) pki.State {
	return m.trust.Get(q, key(v1alpha1.SystemNamespace, pki.StateName))
}

// trustDomain is the mesh's, by which its SPIFFE IDs begin.
func (m *Mesh) trustDomain(q *incr.Query) string { return m.settings(q).TrustDomain }

// connectionAge bounds how long a connection between proxies lives.
func (m *Mesh) connectionAge(q *incr.Query) time.Duration { return m.settings(q).ConnectionAge }

// Roots are the authorities, in PEM, that peers' certificates are verified by; nil while there is none.
func (m *Mesh) Roots(q *incr.Query) []byte { return pki.Bundle(m.Trust(q).Published()) }

// OwnSecret is the certificate and key of a ServiceAccount ("namespace/name"), under the name
// IdentitySecret; false while it has none that can be used.
func (m *Mesh) OwnSecret(q *incr.Query, account string) (Secret, bool) {
	l := m.leaves.Get(q, account)
	return Secret{Name: IdentitySecret, Chain: l.Chain, Key: l.Key}, l.problem == ""
}

// leaf finds and checks the certificate of a ServiceAccount: that which the operator signed, or that
// in its Secret. Where the Mesh's way of issuance has none yet, one of the other way is as good.
func (m *Mesh) leaf(q *incr.Query, account string) leaf {
	signed, issued := m.signedLeaf, m.issuedLeaf
	if m.settings(q).Issuance != v1alpha1.IssuanceIntermediate {
		signed, issued = issued, signed
	}
	first := signed(q, account)
	if first.problem == "" {
		return first
	}
	if other := issued(q, account); other.problem == "" {
		return other
	}
	return first
}

func (m *Mesh) issuedLeaf(q *incr.Query, account string) leaf {
	name := pki.SecretName(account)
	s, ok := m.Secrets.Get(q, key(v1alpha1.SystemNamespace, name))
	if !ok {
		return leaf{problem: m.pending(q, name)}
	}
	got, problem := m.settings(q).CheckSecret(s, account, m.Trust(q).Trusted)
	return leaf{Leaf: got, From: pki.IssuerOf(s), problem: problem}
}

func (m *Mesh) signedLeaf(q *incr.Query, account string) leaf {
	s, ok := m.Leaves.Get(q, account)
	if !ok {
		return leaf{problem: m.unsigned(q)}
	}
	got, problem := pki.CheckLeaf(s.Chain, s.Key, pki.SPIFFEID(m.trustDomain(q), account), m.Trust(q).Trusted)
	return leaf{Leaf: got, From: s.Issuer, Signed: true, problem: problem}
}

// unsigned says why the operator has not signed a certificate.
func (m *Mesh) unsigned(q *incr.Query) string {
	s, ok := m.Secrets.Get(q, key(v1alpha1.SystemNamespace, pki.Intermediate))
	if !ok {
		return m.pending(q, pki.Intermediate)
	}
	if _, problem := pki.IntermediateOf(s); problem != "" {
		return problem
	}
	return "the operator is about to sign it"
}

// pending says why the Secret of a Certificate is not there yet.
func (m *Mesh) pending(q *incr.Query, name string) string {
	c, ok := m.Tables.Certificates.Get(q, key(v1alpha1.SystemNamespace, name))
	if !ok {
		return fmt.Sprintf("Certificate %s/%s is not there yet", v1alpha1.SystemNamespace, name)
	}
	return fmt.Sprintf("Certificate %s/%s waits for %s: %s", c.Namespace, c.Name, pki.IssuerNamed(c.Spec.IssuerRef), why(c))
}

// why is what cert-manager says of a Certificate that it has not issued.
func why(c *cmv1.Certificate) string {
	said := "see whether the issuer is Ready, and whether cert-manager runs"
	for _, cond := range c.Status.Conditions {
		if cond.Message == "" || cond.Type == cmv1.CertificateConditionReady && cond.Status == cmmeta.ConditionTrue {
			continue
		}
		if said = cond.Message; cond.Type == cmv1.CertificateConditionIssuing {
			return said
		}
	}
	return said
}

// Identity is what is wanted of a ServiceAccount that has an identity, and known of it.
func (m *Mesh) Identity(q *incr.Query, account string) Identity {
	settings, trust, l := m.settings(q), m.Trust(q), m.leaves.Get(q, account)
	id := Identity{
		Account: account, Wanted: true, Problem: l.problem, Serial: trust.Serial, Signed: l.Signed && l.problem == "",
		Current: l.problem == "" && l.From == trust.Target && slices.Contains(trust.Keep, l.Root),
	}
	if trust.Phase != pki.Waiting && settings.Issuance != v1alpha1.IssuanceIntermediate {
		id.Certificate = settings.Certificate(account, trust.Issuer)
	}
	return id
}

// podAccount is the ServiceAccount of a pod in the mesh.
func (m *Mesh) podAccount(q *incr.Query, k string) []string {
	pod, ok := m.Pods.Get(q, k)
	if !ok || !sidecar.Meshed(pod) || pod.Spec.ServiceAccountName == "" {
		return nil
	}
	return []string{key(pod.Namespace, pod.Spec.ServiceAccountName)}
}

// gatewayAccount is the ServiceAccount of the proxies of a Gateway that Weft serves.
func (m *Mesh) gatewayAccount(q *incr.Query, k string) []string {
	if account := m.Scope(q, k); account != "" {
		return []string{account}
	}
	return nil
}
