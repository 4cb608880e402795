package core

import (
	"fmt"
	"strings"
	"testing"
)

// credentialPolicy is one about a target with a section that refers to a Secret of its own, and that Secret.
func credentialPolicy(section string, l tokenLevel) string {
	target, says, data := l.target, "apiKey: {secretRefs: [{name: %[1]s}]}", "{client-of-%[1]s: a2V5}"
	if section == "basicAuth" {
		says, data = "basicAuth: {secretRef: {name: %[1]s, key: users}, realm: %[1]s}", "{users: YW5uOntTSEF9NWVuNkc2TWV6UnJvVDNYS3FrZFBPbVkvQmZRPQo=}"
	}
	if target != "" {
		target = "targetRefs: [" + target + "], "
	}
	return fmt.Sprintf("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: %[1]s, namespace: %[2]s}\nspec: {"+target+says+"}\n---\n", l.name, l.namespace) +
		fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %[1]s, namespace: %[2]s, resourceVersion: \"1\"}\ntype: mesh.weft.dev/credentials\ndata: "+data, l.name, l.namespace)
}

// TestCredentialsOfTwoLevels: of each pair of levels, both are asked for wherever both are about requests, and each
// alone where it is alone.
func TestCredentialsOfTwoLevels(t *testing.T) {
	for i, outer := range tokenLevels {
		for _, inner := range tokenLevels[i+1:] {
			for _, section := range []string{"apiKey", "basicAuth"} {
				t.Run(section+" of "+outer.name+" and "+inner.name, func(t *testing.T) { twoLevelsOfCredentials(t, section, outer, inner) })
			}
		}
	}
}

func twoLevelsOfCredentials(t *testing.T, section string, both ...tokenLevel) {
	w := newWorld(t)
	put(t, w.core, []byte(guardedTown))
	for _, l := range both {
		put(t, w.core, []byte(credentialPolicy(section, l)))
	}
	w.commit()
	at := map[string]string{"the rule": w.asked("a.example.com", "checkout"), "another rule and listener": w.asked("b.example.com", "1"), "the port": w.guards("8080"), "another port": w.guards("8081")}
	for place, text := range at {
		n := 0
		for _, l := range both {
			wanted := map[string]bool{
				"the rule": l.gateway, "another rule and listener": l.gateway && l.name != "listener" && l.name != "rule",
				"the port": l.pods, "another port": l.pods && l.name != "port",
			}[place]
			if wanted {
				n++
			}
			if said := map[string]string{"apiKey": "client:client-of-" + l.name + " ", "basicAuth": "realm:" + l.name + " "}[section]; strings.Contains(text, said) != wanted {
				t.Errorf("%s is asked for at %s: %v\n%s", l.name, place, !wanted, text)
			}
		}
		filter := map[string]string{"apiKey": "ApiKeyAuth", "basicAuth": "BasicAuth"}[section]
		if got := strings.Count(text, filter); got != n {
			t.Errorf("at %s it is not %d that are asked for but %d: %s", place, n, got, text)
		}
	}
}

// TestCredentialsReachNoOther: keys and hashes are in what proxies see that must look for them, and in nothing that
// others see or that is told of a policy.
func TestCredentialsReachNoOther(t *testing.T) {
	w := newWorld(t)
	put(t, w.core, []byte(guardedTown))
	for _, l := range tokenLevels[2:] { // not of all that there are
		for _, section := range []string{"apiKey", "basicAuth"} {
			put(t, w.core, []byte(strings.ReplaceAll(credentialPolicy(section, l), "name: "+l.name, "name: "+strings.ToLower(section)+"-"+l.name)))
		}
	}
	put(t, w.core, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: other-0, namespace: shop, uid: o0, labels: {app: other}}\nspec: {serviceAccountName: other, initContainers: [{name: weft-proxy}], containers: [{name: app}]}\nstatus: {podIPs: [{ip: 10.0.0.2}]}\n"))
	w.commit()
	kinds := map[string]bool{}
	for what, text := range w.seen {
		if !strings.Contains(text, "key: key\n") && !strings.Contains(text, "5en6G6MezRroT3XKqkdPOmY") {
			continue
		}
		name, variant, has := strings.Cut(what, " of ")
		if has {
			variant = " of " + variant
		}
		kinds[strings.Fields(name)[0]] = true
		for seen, by := range w.seen {
			if strings.HasPrefix(seen, "scope ") && strings.HasSuffix(seen, " "+name) && by == "seen"+variant && !strings.HasPrefix(seen, "scope shop/web-weft ") && !strings.HasPrefix(seen, "scope @pod/shop/cart/") {
				t.Errorf("%s sees it", seen)
			}
		}
	}
	if len(kinds) != 2 || !kinds["virtualhost"] || !kinds["extension"] {
		t.Errorf("they are in %v", kinds)
	}
}
