package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

// questionsText is a line for each limit that proxies ask about, after where they do: its policy, and what
// is found in a request.
func questionsText(config map[string]any) []string {
	out := []string{fmt.Sprint("asks at ", config["domain"])}
	all, _ := config["rateLimits"].([]any)
	for _, l := range all {
		var found []string
		for _, a := range l.(map[string]any)["actions"].([]any) {
			found = append(found, actionText(a.(map[string]any)))
		}
		out = append(out, strings.Join(found, ", "))
	}
	return out
}

func actionText(action map[string]any) string {
	for kind, config := range action {
		c := config.(map[string]any)
		switch kind {
		case "metadata":
			return fmt.Sprint("policy ", c["metadataKey"].(map[string]any)["path"].([]any)[0].(map[string]any)["key"])
		case "genericKey":
			return fmt.Sprint(c["descriptorKey"], " ", c["descriptorValue"])
		case "requestHeaders":
			return fmt.Sprint(c["descriptorKey"])
		case "extension":
			return fmt.Sprint(c["typedConfig"].(map[string]any)["descriptorKey"])
		}
		return kind
	}
	return ""
}

const countedWorld = `
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: u-web}
spec: {serviceAccountName: web, containers: [{name: app}], initContainers: [{name: weft-proxy}]}
status: {podIP: 10.0.0.9}
---
apiVersion: v1
kind: Pod
metadata: {name: outside, namespace: shop, uid: u-out}
spec: {serviceAccountName: web, containers: [{name: app}]}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: cart, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: cart}]
  rateLimit: {global: {limits: [{requests: 5, per: 1h, by: [{type: Caller}]}]}}
`

// TestWhoMayAsk: a proxy may ask where it sees the filter, of the policies that are about what comes in there;
// who calls, its token says.
func TestWhoMayAsk(t *testing.T) {
	w := newWorld(t)
	put(t, w.core, []byte(countedWorld))
	w.commit()
	limit := ratelimit.Section.Quotas(&v1alpha1.RateLimit{Global: &v1alpha1.RequestLimits{Limits: []v1alpha1.RequestLimit{{By: []v1alpha1.RequestProperty{{Type: "Caller"}}}}}})[0]
	ask := func(who xds.Identity, place, policy string) quota.Answer {
		known, ok := w.core.Asks(who)
		if !ok {
			return quota.Answer{Unknown: -1}
		}
		return w.core.Quota.Decide(time.Minute, place, known, []quota.Asked{{Policy: policy, ID: limit.ID, Values: []string{"somebody else"}}})
	}
	web := xds.Identity{Namespace: "shop", ServiceAccount: "web", Pod: "web", PodUID: "u-web"}
	const place = "outbound/shop/cart/80"
	for n := range 6 {
		if got := ask(web, place, "shop/cart"); got.Counted != 1 || got.Refused != (n == 5) {
			t.Errorf("question %d: %+v", n, got)
		}
	}
	other := web
	other.Pod, other.PodUID = "outside", "u-out"
	for name, got := range map[string]quota.Answer{
		"a policy that is not there": ask(web, place, "shop/other"),
		"another place":              ask(web, "gateway/shop/edge/80", "shop/cart"),
	} {
		if got.Counted != 0 || got.Unknown != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := ask(other, place, "shop/cart"); got.Unknown != -1 {
		t.Errorf("a pod outside the mesh: %+v", got)
	}
	put(t, w.core, []byte(strings.Replace(countedWorld, "requests: 5", "requests: 50", 1)))
	w.commit()
	if got := ask(web, place, "shop/cart"); !got.Refused || got.Nearest.Size != 50 {
		t.Errorf("with a larger limit, of which the bucket is as empty as before: %+v", got)
	}
	put(t, w.core, []byte(strings.Replace(countedWorld, "name: cart, namespace: shop}\nspec:\n  target", "name: cart, namespace: shop, annotations: {delete: \"\"}}\nspec:\n  target", 1)))
	w.commit()
	if got := ask(web, place, "shop/cart"); got.Counted != 0 || w.core.Quota.Buckets() != 0 {
		t.Errorf("when the policy is gone: %+v, %d buckets", got, w.core.Quota.Buckets())
	}
}
