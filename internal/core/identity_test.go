package core

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

const meshedPod = `
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: cart%s}
spec: {serviceAccountName: cart, initContainers: [{name: weft-proxy, restartPolicy: Always}]}
`

// TestIdentitiesAreKnownOnceTold: an identity is known with the commit that told of it, whether or not
// anybody took it out of the outbox, until its last pod is gone.
func TestIdentitiesAreKnownOnceTold(t *testing.T) {
	c := New(xds.NewStore(mesh.BasesOf), xds.NewFacts())
	if all := c.KnownIdentities(); len(all) > 0 {
		t.Fatalf("%v are known of nothing", all)
	}
	put(t, c, []byte(fmt.Sprintf(meshedPod, "")))
	c.Commit()
	if all := c.KnownIdentities(); len(all) != 1 || all[0].Account != "shop/cart" || !all[0].Wanted {
		t.Fatalf("known are %+v", all)
	}
	put(t, c, []byte(fmt.Sprintf(meshedPod, `, annotations: {delete: ""}`)))
	c.Commit()
	if all := c.KnownIdentities(); len(all) > 0 {
		t.Fatalf("%+v are known after the last pod", all)
	}
}
