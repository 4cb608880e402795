package authorization

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Before is the name of the ConfigMap of weft-system that has the module which policies of a namespace name, as it was
// last when OPA could read it.
func Before(namespace string, ref v1alpha1.RegoRef) string {
	return kept(fmt.Sprintf("%s/%s\n%s", namespace, ref.Name, ref.Key))
}

// Fetched is the name of the one that has the module which was fetched for a policy.
func Fetched(namespace, policy string) string {
	return kept(fmt.Sprintf("fetched\n%s/%s", namespace, policy))
}

func kept(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "weft-rego-" + hex.EncodeToString(sum[:8])
}
