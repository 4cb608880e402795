package room

import corev1 "k8s.io/api/core/v1"

// Sealed is what proxies have apart from all else, by SDS, and what nothing else is made of: that it is there is all
// that a section hears of it. It is one key of a Secret.
type Sealed struct {
	Name string // of the Secret, in the policy's namespace
	// Own is, in place of Name, the name of a Secret of weft-system that the operator makes for a policy, by its key.
	Own  func(policy string) string
	Key  string
	Type corev1.SecretType
	// Check says what is wrong with it, without a word of what it is; "": nothing.
	Check func([]byte) string
}
