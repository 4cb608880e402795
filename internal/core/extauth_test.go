package core

import (
	"fmt"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// serverPolicy has a server asked of the policy's own name, or of another one.
func serverPolicy(namespace, name, target, server string) string {
	if target != "" {
		target = "targetRefs: [" + target + "], "
	}
	return fmt.Sprintf("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: %s, namespace: %s}\nspec: {%sextAuth: {protocol: HTTP, backendRef: {name: %s, port: 80}}}\n", name, namespace, target, server)
}

// serverAt is a Service of a name, and a pod in the mesh behind it.
func serverAt(namespace, name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[2]s, namespace: %[1]s}\nspec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: http-other, port: 81, targetPort: 8081}], selector: {app: %[2]s}}\n---\n"+
		"apiVersion: v1\nkind: Pod\nmetadata: {name: %[2]s-0, namespace: %[1]s, uid: %[1]s-%[2]s, labels: {app: %[2]s}}\n"+
		"spec: {serviceAccountName: %[2]s, initContainers: [{name: weft-proxy}], containers: [{name: app}]}\nstatus: {podIPs: [{ip: 10.0.1.1}]}\n", namespace, name)
}

var askedAt = regexp.MustCompile(`uri:http://([-a-z0-9]+)\.`)

// servers are those that are asked by what requests must pass, in order.
func servers(text string) (out []string) {
	for _, found := range askedAt.FindAllStringSubmatch(text, -1) {
		out = append(out, found[1])
	}
	return out
}

// TestServersOfTwoLevels: of each pair of levels, the servers of both are asked wherever both are about requests, the
// outer one first, and each alone where it is alone.
func TestServersOfTwoLevels(t *testing.T) {
	for i, outer := range tokenLevels {
		for _, inner := range tokenLevels[i+1:] {
			t.Run(outer.name+" and "+inner.name, func(t *testing.T) { serversOfTwoLevels(t, outer, inner) })
		}
	}
}

func serversOfTwoLevels(t *testing.T, both ...tokenLevel) {
	w := newWorld(t)
	put(t, w.core, []byte(guardedTown))
	for _, l := range both {
		put(t, w.core, []byte("apiVersion: v1\nkind: Service\nmetadata: {name: of-"+l.name+", namespace: "+l.namespace+"}\nspec: {ports: [{name: http, port: 80}]}\n---\n"+serverPolicy(l.namespace, l.name, l.target, "of-"+l.name)))
	}
	w.commit()
	for place, text := range map[string]string{"the rule": w.asked("a.example.com", "checkout"), "another rule and listener": w.asked("b.example.com", "1"), "the port": w.guardsOf("cart", "8080"), "another port": w.guardsOf("cart", "8081")} {
		var want []string
		for _, l := range both {
			if map[string]bool{
				"the rule": l.gateway, "another rule and listener": l.gateway && l.name != "listener" && l.name != "rule",
				"the port": l.pods, "another port": l.pods && l.name != "port",
			}[place] {
				want = append(want, "of-"+l.name)
			}
		}
		if got := servers(text); !slices.Equal(got, want) {
			t.Errorf("at %s %v are asked, want %v", place, got, want)
		}
	}
}

// guardsOf is what requests to a port of the pods of a ServiceAccount must pass.
func (w *world) guardsOf(account, port string) string {
	w.t.Helper()
	own := &world{t: w.t, seen: map[string]string{}}
	for name, text := range w.seen {
		if strings.HasPrefix(name, "extension guards of ") && strings.Contains(name, "/"+account+"/") {
			own.seen[name] = text
		}
	}
	return own.guards(port)
}

// TestServersAskAboutThemselves: a server's sidecar asks nobody about what comes round to the server, and about all else
// whom it has to.
func TestServersAskAboutThemselves(t *testing.T) {
	const grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: asks, namespace: shop}\nspec: {from: [{group: mesh.weft.dev, kind: MeshPolicy, namespace: weft-system}], to: [{group: '', kind: Service}]}\n"
	all := serverPolicy("weft-system", "all", "", "authz, namespace: shop")
	for name, c := range map[string]struct {
		policies []string
		want     map[string]string // of whom is asked at a port
	}{
		"a policy of the namespace": {[]string{serverPolicy("shop", "own", "", "authz")},
			map[string]string{"cart 8080": "authz", "second 8080": "authz", "authz 8080": "", "authz 8081": "authz"}},
		"one of the mesh and one of the namespace": {[]string{grant, all, serverPolicy("shop", "own", "", "second")},
			map[string]string{"cart 8080": "authz second", "second 8080": "authz", "authz 8080": "", "authz 8081": "authz second"}},
		"one of the mesh that may not": {[]string{all, serverPolicy("shop", "own", "", "second")},
			map[string]string{"cart 8080": "second", "second 8080": "", "authz 8080": "second"}},
		"a server that has another one asked": {[]string{serverPolicy("shop", "cart", "{kind: Service, name: cart}", "authz"), serverPolicy("shop", "authz", "{kind: Service, name: authz}", "second")},
			map[string]string{"cart 8080": "authz", "second 8080": "", "authz 8080": "second"}},
		"two that have each other asked": {[]string{serverPolicy("shop", "a", "{kind: Service, name: second}", "authz"), serverPolicy("shop", "b", "{kind: Service, name: authz}", "second")},
			map[string]string{"second 8080": "authz", "authz 8080": ""}},
		"what asks at Gateways spares nobody": {[]string{serverPolicy("shop", "a", "{kind: Gateway, name: web}", "authz"), serverPolicy("shop", "b", "{kind: Service, name: authz}", "second")},
			map[string]string{"authz 8080": "second"}},
	} {
		w := newWorld(t)
		for _, text := range slices.Concat([]string{guardedTown, serverAt("shop", "authz"), serverAt("shop", "second")}, c.policies) {
			put(t, w.core, []byte(text))
		}
		w.commit()
		for at, want := range c.want {
			account, port, _ := strings.Cut(at, " ")
			if got := strings.Join(servers(w.guardsOf(account, port)), " "); got != want {
				t.Errorf("%s: at port %s of %s %q is asked, want %q", name, port, account, got, want)
			}
		}
	}
}

// TestServersGoRoundInNoCircle: whatever policies there are, questions about questions come to an end, and no server is
// spared what a policy asks that comes before all that name it.
func TestServersGoRoundInNoCircle(t *testing.T) {
	names := []string{"s0", "s1", "s2", "s3"}
	for seed := range 40 {
		h := rand.New(rand.NewSource(int64(seed)))
		w := newWorld(t)
		put(t, w.core, []byte("apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: asks, namespace: shop}\nspec: {from: [{group: mesh.weft.dev, kind: MeshPolicy, namespace: weft-system}], to: [{group: '', kind: Service}]}\n"))
		for _, name := range names {
			put(t, w.core, []byte(serverAt("shop", name)))
		}
		first := "" // whom the outermost and oldest policy asks
		for i := range 2 + h.Intn(5) {
			server, about := names[h.Intn(4)], names[h.Intn(4)]
			target := []string{"", "{kind: ServiceAccount, name: " + about + "}", "{pods: {selector: {matchLabels: {app: " + about + "}}}}", "{kind: Service, name: " + about + "}", "{kind: Service, name: " + about + ", port: 80}"}[h.Intn(5)]
			namespace := "shop"
			if i == 0 {
				namespace, target, first = "weft-system", "", server
				server += ", namespace: shop"
			}
			put(t, w.core, []byte(serverPolicy(namespace, fmt.Sprintf("p%d", i), target, server)))
		}
		w.commit()
		asks := map[string][]string{}
		for _, name := range names {
			asks[name] = servers(w.guardsOf(name, "8080"))
			if slices.Contains(asks[name], first) == (name == first) {
				t.Errorf("seed %d: of what the mesh asks, %s has %v asked", seed, name, asks[name])
			}
		}
		for _, name := range names {
			if circle(asks, name, name, 0) {
				t.Errorf("seed %d: questions to %s go round: %v", seed, name, asks)
			}
		}
	}
}

// circle says whether questions that come to one server come to another one within as many steps as there are servers.
func circle(asks map[string][]string, from, to string, steps int) bool {
	return steps <= len(asks) && slices.ContainsFunc(asks[from], func(next string) bool { return next == to || circle(asks, next, to, steps+1) })
}
