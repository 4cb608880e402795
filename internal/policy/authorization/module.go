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
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s\n%s", namespace, ref.Name, ref.Key))
	return "weft-rego-" + hex.EncodeToString(sum[:8])
}
