package core

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/xds"
)

var update = flag.Bool("update", false, "rewrite the stories' outputs")

// TestStories: each step of a story is YAML in, and only what it changed out.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("%d stories, %v", len(stories), err)
	}
	for _, path := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { tell(t, path) })
	}
}

func tell(t *testing.T, path string) {
	story, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.commit() // what is there without any object
	got := &txtar.Archive{Comment: story.Comment}
	for _, f := range story.Files {
		if step, in := strings.CutSuffix(f.Name, ".yaml"); in {
			got.Files = append(got.Files, f, txtar.File{Name: step + ".out", Data: []byte(w.apply(f.Data))})
		}
		if step, in := strings.CutSuffix(f.Name, ".clock"); in {
			got.Files = append(got.Files, f, txtar.File{Name: step + ".out", Data: []byte(w.clock(string(f.Data)))})
		}
	}
	if at := slices.IndexFunc(story.Files, func(f txtar.File) bool { return f.Name == "demands" }); at >= 0 {
		w.demand(string(story.Files[at].Data))
		got.Files = append(got.Files, story.Files[at])
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, is := txtar.Format(story), txtar.Format(got); !bytes.Equal(want, is) {
		t.Fatalf("%s tells another story (accept it with -update):\n%s", path, difference(string(want), string(is)))
	}
}

// demand looks for what must be so in the end, whatever was accepted with -update: under what a thing is
// called, how lines of it begin; after "no", how none does.
func (w *world) demand(text string) {
	w.t.Helper()
	var what string
	for line := range strings.Lines(text) {
		want, of := strings.CutPrefix(strings.TrimRight(line, "\n"), "  ")
		if !of {
			what = want
			continue
		}
		want, not := strings.CutPrefix(want, "no ")
		has := slices.ContainsFunc(strings.Split(w.seen[what], "\n"), func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), want) })
		if has == not || w.seen[what] == "" {
			w.t.Errorf("%s: no line %q (or one that must not be) in\n%s", what, want, w.seen[what])
		}
	}
}

// world is a Core whose store is read back as text.
type world struct {
	t    *testing.T
	core *Core
	seen map[string]string // what was last told of each thing
	text func(*testing.T, *discovery.Resource) string
}

func newWorld(t *testing.T) *world {
	return &world{t, New(xds.NewStore(nil), xds.NewFacts()), map[string]string{}, resourceText}
}

// clock sets the time of day, in RFC 3339, and returns what became different.
func (w *world) clock(text string) string {
	w.t.Helper()
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil {
		w.t.Fatal(err)
	}
	w.core.moments.now = func() time.Time { return at }
	w.core.moments.strike()
	return w.commit()
}

// apply commits the objects of some YAML and returns what became different.
func (w *world) apply(data []byte) string {
	put(w.t, w.core, data)
	return w.commit()
}

func (w *world) commit() string {
	var out []string
	w.core.publish = func(c xds.Change) { out = append(out, w.resources(c)...) }
	w.core.OnPorts = func(gateway string) { out = append(out, w.tell("ports of "+gateway, portText(w.core, gateway))...) }
	w.core.Commit()
	w.core.Commit() // takes in what the first one learned
	for _, s := range w.core.Statuses.Take() {
		out = append(out, w.tell("status "+s.Kind+" "+s.Key, conditionText(s))...)
	}
	for _, c := range w.core.Certificates.Take() {
		out = append(out, w.tell("certificates "+c.Gateway, certificateText(c))...)
	}
	slices.Sort(out)
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n") + "\n"
}

func (w *world) resources(c xds.Change) (out []string) {
	for at, r := range c.Resources {
		out = append(out, w.tell(short(at.Type)+" "+at.Name.Name+ofVariant(at.Variant), w.text(w.t, r))...)
	}
	for scope, names := range c.Scopes {
		for n, v := range names {
			text := ""
			if v != nil {
				text = "seen" + ofVariant(*v)
			}
			out = append(out, w.tell("scope "+scope+" "+short(n.Type)+" "+n.Name, text)...)
		}
	}
	return out
}

// tell says how one thing differs from what was last told of it: + new, ~ changed, - gone.
func (w *world) tell(what, now string) []string {
	before := w.seen[what]
	switch {
	case before == now:
		return nil
	case now == "":
		delete(w.seen, what)
		return []string{"- " + what}
	}
	w.seen[what] = now
	if before != "" {
		return []string{"~ " + what + "\n" + difference(before, now)}
	}
	if variant, is := strings.CutPrefix(now, "seen"); is {
		return []string{"+ " + what + variant}
	}
	return []string{"+ " + what + "\n" + indent(now)}
}

// ofVariant tells of a variant that is not the ordinary one.
func ofVariant(v xds.Variant) string {
	if v == "" {
		return ""
	}
	return " of " + string(v)
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// difference lists the lines that only one of two texts has.
func difference(before, now string) string {
	a, b := strings.Split(strings.TrimSpace(before), "\n"), strings.Split(strings.TrimSpace(now), "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "  - "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "  + "+l)
		}
	}
	return strings.Join(out, "\n")
}

func short(url string) string {
	for k := range kinds {
		if typeURL(k) == url {
			return string(k)
		}
	}
	return url
}

// resourceText is a resource without what is the same in all of its kind.
func resourceText(t *testing.T, r *discovery.Resource) string {
	if r == nil {
		return ""
	}
	m, err := r.Resource.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return string(must(yaml.Marshal(told(tree))))
}

// told keeps what the core decides; how it is spelt for Envoy is the envoy package's own goldens.
func told(tree map[string]any) any {
	_, captures := tree["defaultFilterChain"]
	switch {
	case captures || tree["filterChains"] != nil:
		return withModules(tree, map[string]any{"address": tree["address"], "chains": chains(tree)})
	case tree["typedConfig"] != nil: // a filter of bytes
		config := tree["typedConfig"].(map[string]any)
		if mesh.IsAccess(fmt.Sprint(tree["name"])) {
			return accessText(config)
		}
		if tree["name"] == mesh.Guards {
			return config["matcher"]
		}
		if mesh.IsShared(fmt.Sprint(tree["name"])) {
			return append(limitsText(config), windowsText(config)...)
		}
		if mesh.IsApart(fmt.Sprint(tree["name"])) {
			return modulesText(config)
		}
		if _, is := mesh.IsQuota(fmt.Sprint(tree["name"])); is {
			return questionsText(config)
		}
		if split := config["weightedClusters"]; split != nil {
			return split
		}
		return map[string]any{"cluster": config["cluster"]}
	case tree["udpListenerConfig"] != nil:
		return map[string]any{"address": tree["address"], "udp": clusterNamed.FindStringSubmatch(fmt.Sprint(tree))[1]}
	case tree["connectTimeout"] != nil:
		return clusterText(tree)
	case tree["tlsCertificate"] != nil:
		return map[string]any{"holds": slices.Sorted(maps.Keys(tree["tlsCertificate"].(map[string]any)))}
	}
	return tree
}

// accessText is who gets past a filter: what it asks of requests, or of connections.
func accessText(config map[string]any) any {
	rules, guards := config["rules"].(map[string]any)
	states, _ := config["onDownstreamTlsHandshake"].([]any)
	switch {
	case guards && rules["policies"] == nil, len(states) > 0 && strings.Contains(policyText.FindString(fmt.Sprint(states)), "CEL('none')"):
		return map[string]any{"lets": "nobody in"}
	case guards:
		return rules["policies"]
	case len(states) > 0 && strings.Contains(fmt.Sprint(states), "weft.policy"):
		return map[string]any{"lets": policyText.FindString(fmt.Sprint(states))}
	case len(states) > 0:
		return map[string]any{"lets": "all in", "would refuse": triedText.FindString(fmt.Sprint(states))}
	}
	return map[string]any{"lets": "all in"}
}

// limitsText is a line for each limit: what is counted, into which bucket.
func limitsText(config map[string]any) (out []string) {
	all, _ := config["descriptors"].([]any)
	for _, d := range all {
		descriptor := d.(map[string]any)
		bucket := descriptor["tokenBucket"].(map[string]any)
		var by []string
		for _, e := range descriptor["entries"].([]any) {
			entry := e.(map[string]any)
			by = append(by, strings.TrimSuffix(fmt.Sprint(entry["key"], " ", entry["value"]), " <nil>"))
		}
		out = append(out, fmt.Sprintf("%v per %v, at once %v: %s", bucket["tokensPerFill"], bucket["fillInterval"], bucket["maxTokens"], strings.Join(by, ", ")))
	}
	return out
}

// windowsText is a line for each window of an admission control: of which policy and rule, and what is asked.
func windowsText(config map[string]any) (out []string) {
	chains, _ := config["namedFilterChains"].(map[string]any)
	for _, of := range slices.Sorted(maps.Keys(chains)) {
		filter := chains[of].(map[string]any)["typedConfig"].([]any)[0].(map[string]any)["typedConfig"].(map[string]any)
		threshold := filter["srThreshold"].(map[string]any)["defaultValue"].(map[string]any)["value"]
		out = append(out, fmt.Sprintf("window of %s: %v%% over %v", of, threshold, filter["samplingWindow"]))
	}
	return out
}

// clusterText is what a cluster speaks, and whom it expects.
func clusterText(tree map[string]any) any {
	text := fmt.Sprint(tree)
	out := map[string]any{}
	if of, is := tree["clusterType"].(map[string]any); is {
		out["through"] = of["typedConfig"].(map[string]any)["clusters"]
	} else if tree["type"] == "EDS" {
		out["http2"] = fmt.Sprint(strings.Contains(text, "http2ProtocolOptions"))
	} else {
		out["type"], out["to"] = tree["type"], strings.Join(addressText.FindAllString(text, -1), " ")
	}
	socket, _ := tree["transportSocket"].(map[string]any)
	if config, _ := socket["typedConfig"].(map[string]any); config["sni"] != nil && !isOwn(tree["name"]) {
		out["tls"] = backendText(config)
	}
	if isOwn(tree["name"]) {
		out["token"] = tokenText.FindString(text)
	}
	if strings.Contains(text, "overrideHostStatus") {
		out["sessions"] = "over several Services"
	}
	if budget := budgetText.FindString(text); budget != "" && budget != usualBudget {
		out["retries"] = budget
	}
	if peers := identityText.FindAllString(text, -1); len(peers) > 0 {
		out["peers"] = peers
	}
	shapedText(tree, out)
	return out
}

// isOwn says whether a Cluster is that of a server of Weft's.
func isOwn(cluster any) bool {
	return cluster == ratelimit.Cluster || cluster == mesh.Authz || cluster == mesh.Checks
}

const usualBudget = "retryBudget:map[budgetPercent:map[value:20] minRetryConcurrency:50"

// backendText is whom the TLS of a BackendTLSPolicy asks for, whom it takes, and on how much of
// authorities' word.
func backendText(config map[string]any) any {
	common := config["commonTlsContext"].(map[string]any)
	validation := common["validationContext"].(map[string]any)
	out := map[string]any{"sni": config["sni"], "alpn": common["alpnProtocols"]}
	var names []string
	for _, n := range validation["matchTypedSubjectAltNames"].([]any) {
		name := n.(map[string]any)
		names = append(names, fmt.Sprint(name["sanType"], " ", name["matcher"].(map[string]any)["exact"]))
	}
	out["names"] = names
	out["authorities"] = authoritiesIn(validation)
	if shown, _ := common["tlsCertificateSdsSecretConfigs"].([]any); len(shown) > 0 {
		out["shows"] = shown[0].(map[string]any)["name"]
	}
	return out
}

var (
	clusterNamed = regexp.MustCompile(`cluster:([^\]]+)`)
	tokenText    = regexp.MustCompile(`/[a-z/-]+/token\.json`)
	addressText  = regexp.MustCompile(`address:[0-9a-f.:]+ portValue:[0-9]+`)
	budgetText   = regexp.MustCompile(`retryBudget:map\[[^]]*\] minRetryConcurrency:[0-9]+`)
	identityText = regexp.MustCompile(`spiffe://[^\]]+`)
	sharedText   = regexp.MustCompile(`(shared|quota)/[^ \]]+`)
	policyText   = regexp.MustCompile(`%CEL\([^%]*'none'\)%`)
	triedText    = regexp.MustCompile(`%CEL\([^%]* : ''\)%`)
	shadowText   = regexp.MustCompile(`name:section valueFormat:([^%\s]+)\] map\[name:policy valueFormat:(\S+)\]`)
)

// chains are named by the server names that they match or, without any, by their own names.
func chains(tree map[string]any) (out []any) {
	all, _ := tree["filterChains"].([]any)
	if last, is := tree["defaultFilterChain"]; is {
		all = append(all, last)
	}
	for _, c := range all {
		chain := c.(map[string]any)
		out = append(out, chainText(chain))
		for _, shared := range slices.Compact(sharedText.FindAllString(fmt.Sprint(chain), -1)) {
			out = append(out, "with "+shared)
		}
		if asks := clientsText(chain); asks != "" {
			out = append(out, asks)
		}
	}
	return out
}

func chainText(chain map[string]any) any {
	match, _ := chain["filterChainMatch"].(map[string]any)
	if names := match["serverNames"]; names != nil {
		return names
	}
	if metadata, _ := chain["metadata"].(map[string]any); metadata != nil {
		return fmt.Sprint(chain["name"], " ", metadata["filterMetadata"])
	}
	if counts := shadowText.FindStringSubmatch(fmt.Sprint(chain)); counts != nil {
		return fmt.Sprintf("%s counts what %s of %s would refuse", chain["name"], counts[1], counts[2])
	}
	return chain["name"]
}

// clientsText is what a chain of a Gateway asks of its clients.
func clientsText(chain map[string]any) string {
	socket, _ := chain["transportSocket"].(map[string]any)
	config, _ := socket["typedConfig"].(map[string]any)
	common, _ := config["commonTlsContext"].(map[string]any)
	validation, _ := common["validationContext"].(map[string]any)
	if validation == nil {
		return ""
	}
	if config["requireClientCertificate"] != true {
		return "whose clients may have any certificate, or none"
	}
	return fmt.Sprintf("whose clients need a certificate of %d authorities", authoritiesIn(validation))
}

// authoritiesIn is how many a validation context has.
func authoritiesIn(validation map[string]any) int {
	pem, _ := base64.StdEncoding.DecodeString(validation["trustedCa"].(map[string]any)["inlineBytes"].(string))
	return strings.Count(string(pem), "BEGIN CERTIFICATE")
}

func certificateText(c Certificates) string {
	var out []string
	for _, w := range c.Wanted {
		out = append(out, fmt.Sprintf("%s/%s by %s %s for %v", w.Namespace, w.Name, w.Issuer.Kind, w.Issuer.Name, w.DNSNames))
	}
	return strings.Join(out, "\n")
}

func portText(c *Core, gateway string) string {
	var out []string
	ports, _ := c.SetPorts(gateway)
	for _, p := range ports {
		out = append(out, fmt.Sprint(p.Number, " ", p.Protocol))
	}
	return strings.Join(out, "\n")
}

func conditionText(s mesh.Status) string {
	if s.Value == nil {
		return ""
	}
	return statusText(s.Value)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
