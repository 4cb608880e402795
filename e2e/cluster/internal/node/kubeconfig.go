package node

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// account is a holder of a static token.
type account struct {
	file, user, group string
}

var accounts = []account{
	{"kubeconfig", "admin", "system:masters"},
	{"kube-controller-manager.kubeconfig", "system:kube-controller-manager", ""},
	{"kube-scheduler.kubeconfig", "system:kube-scheduler", ""},
	{"kube-proxy.kubeconfig", "system:kube-proxy", ""},
	{"kubelet.kubeconfig", "system:node:" + layout.NodeName, "system:nodes"},
}

const kubeconfigText = `apiVersion: v1
kind: Config
current-context: weft
clusters:
- name: weft
  cluster:
    server: https://%s:%s
    certificate-authority-data: %s
contexts:
- name: weft
  context: {cluster: weft, user: weft}
users:
- name: weft
  user: {token: %s}
`

// writeAccounts makes a token and a kubeconfig for each account, and the file by
// which the API server knows the tokens.
func writeAccounts(l layout.Layout) error {
	ca, err := os.ReadFile(l.Path("pki", "ca.crt"))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	var tokens strings.Builder
	for _, a := range accounts {
		token := rand.Text()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, a.user, a.user, a.group)
		text := fmt.Sprintf(kubeconfigText, layout.NodeIPv4, layout.APIServerPort, base64.StdEncoding.EncodeToString(ca), token)
		if err := l.Write([]byte(text), a.file); err != nil {
			return err
		}
	}
	return l.Write([]byte(tokens.String()), "pki", "tokens.csv")
}
