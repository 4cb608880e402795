package room

import (
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Reference is what a section cannot do without, and has in another object or must have checked: a text, or a
// server.
type Reference struct {
	Field string // of the section, as it follows its name
	// Text is one that is written in the section; else it is under Key in a ConfigMap of the policy's namespace, in
	// its binaryData if it is Binary, or was fetched from Remote.
	Text, ConfigMap, Key string
	Binary               bool
	// Aside says that the text is only checked: whoever goes by it reads of it what is needed.
	Aside bool
	// Before is the name of a ConfigMap of weft-system, for a policy of a namespace: the operator keeps there, under
	// KeptText, what was last found with nothing wrong, which holds meanwhile. nil: it keeps none.
	Before func(namespace string) string
	Remote Remote
	// Check says what is wrong with the text; "": nothing.
	Check func(text string) string
	// Kept is, in place of all of these, the name of a ConfigMap of weft-system, for a policy of a namespace: the
	// operator keeps there, under KeptText, what it fetched last, and under KeptProblem why it could not of late. With
	// Remote, only a text of that digest is the one that is meant.
	Kept func(namespace, policy string) string
	// Secrets are, in place of all of these, the names of some of the policy's namespace, of which Read makes the text
	// of Pairs: as far as there is one, whatever is wrong beside it. What is wrong, it says too.
	Secrets []string
	Read    func([]Credentials) (Pairs, []string)
	// OfProvider says that what is Kept is what a provider says of itself, and no keys.
	OfProvider bool
	// Sealed is, in place of all of these, a secret, of which there never is a text.
	Sealed *Sealed
	// Server is spoken to by gRPC or, ByHTTP, as its port declares; nil: it is a text.
	Server *gwv1.BackendObjectReference
	ByHTTP bool
	// Instead is what becomes of requests without it.
	Instead string
}

// Own says whether what is Remote is Kept for each policy by itself.
func (r Reference) Own() bool { return r.Kept != nil && r.Remote.URL != "" }

// The keys of a ConfigMap in which something is Kept.
const (
	KeptText    = "text"
	KeptProblem = "problem"
	// Of a text that is fetched from a Remote: its digest; the Key of the one that a problem is of; and whether that is a
	// problem of what was fetched, so that to fetch it again would not help.
	KeptDigest = "sha256"
	KeptWanted = "wanted"
	KeptBad    = "bad"
)

// Remote is where a text is fetched from; the zero value: it is not.
type Remote struct {
	URL    string
	SHA256 string // of the text, in hexadecimal
}

// Key tells it from others.
func (r Remote) Key() string { return r.SHA256 + " " + r.URL }

// ParseRemote is the Remote of a Key.
func ParseRemote(key string) Remote {
	digest, url, _ := strings.Cut(key, " ")
	return Remote{URL: url, SHA256: digest}
}

// Referent is what was found of a Reference.
type Referent struct {
	Text string
	// Awaited says that there is nothing yet, because it is being fetched.
	Awaited   bool
	Cluster   string // that questions to the server go through
	Reached   string // the Cluster that the server is reached by
	Authority string // the name and port of its Service
	// Reason and Problem say why there is nothing, or, of Secrets, not all; "": there is.
	Reason, Problem string
	// Stale says why the Text, which is there, is that of before; "": it is not.
	Stale string
}

func (s Section[S]) refers(spec *v1alpha1.MeshPolicySpec) []Reference {
	if says := s.Of(spec); says != nil && s.Refers != nil {
		return s.Refers(says)
	}
	return nil
}
