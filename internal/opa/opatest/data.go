package opatest

import (
	"math/rand"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
)

// documents is what conditions that are drawn compare with.
const documents = `
text: user
list: [admin, ann, /open, Admin]
none: []
owners: {ann: [ann, ten], user: payments, admin: [user, admin], GET: [a], /open: [ann], shop: []}
`

// Data finds what is in the documents that conditions are drawn with.
func Data(d v1alpha1.AuthorizationData) document.Found {
	return document.Find(documents, d.Path, d.By != "")
}

func data(r *rand.Rand) *v1alpha1.AuthorizationData {
	d := &v1alpha1.AuthorizationData{ConfigMapRef: v1alpha1.DocumentRef{Name: "it", Key: "it.data.yaml"}}
	if d.Path = []string{one(r, "text", "list", "list", "none")}; maybe(r) {
		d.Path, d.By = []string{"owners"}, one(r, texts...)
	}
	return d
}
