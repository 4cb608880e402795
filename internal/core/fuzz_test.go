package core

import (
	"fmt"
	"maps"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// FuzzObjects: whatever objects of whatever kinds there are, they are translated; what is made of them is
// valid by Envoy's own rules and is what a core that starts now would make; and the neighbours are given and
// told, to the byte, what they are without them.
func FuzzObjects(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, choices []byte) { suffer(t, choices) })
}

// TestDrawnObjects is the same of a few fixed seeds, of every fifth of which the real Envoy takes the resources:
// it needs seconds for them.
func TestDrawnObjects(t *testing.T) {
	const asked = 5
	seeds := int64(6)
	if os.Getenv("WEFT_LONG") == "1" {
		seeds = 1000
	}
	for seed := range seeds {
		choices := make([]byte, 1500)
		rand.New(rand.NewSource(seed)).Read(choices)
		w := suffer(t, choices)
		proxies := w.proxies()
		if len(proxies["good/edge-weft"]) == 0 {
			t.Errorf("the neighbours' proxies are given nothing; there are %d kinds of proxies", len(proxies))
		}
		for scope, resources := range proxies {
			if seed%asked != 0 {
				break
			}
			if envoytest.Validate(t, slices.DeleteFunc(resources, ownServer)...); t.Failed() {
				t.Errorf("the proxies of %s refuse what they would be given", scope)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// ownServer says whether a resource is the Cluster of a server of Weft's: those read files that are in the proxy's pod
// alone. TestQuotaResources has Envoy take one.
func ownServer(m proto.Message) bool {
	c, is := m.(*clusterv3.Cluster)
	return is && isOwn(c.Name)
}

// TestEveryKindIsDrawn: of each kind that there is a table for, objects are drawn that say something.
func TestEveryKindIsDrawn(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, table := range objectTables(newWorld(t).core.tables) {
		says := false
		for range 50 {
			choices := make([]byte, 200)
			random.Read(choices)
			o := reflect.New(table.of).Elem()
			(&draw{choices}).fill(o, "", 0)
			for _, i := range fieldsOf(table.of) {
				says = says || table.of.Field(i).Name != "ObjectMeta" && !o.Field(i).IsZero()
			}
		}
		if !says && table.of.Name() != "Namespace" { // of which the labels count
			t.Errorf("nothing is drawn of kind %s", table.of.Name())
		}
	}
}

// seeds are choices by which each example is drawn as it is.
func seeds() (out [][]byte) {
	w := newDrawnWorld(nil)
	for at, t := range w.kinds(aboutEverybody, false) {
		for i := range examples()[t.of] {
			// No object about all, and the ground; of the least number of others one that is this example, unchanged, in the
			// first namespace, by its own name, and as old as any.
			out = append(out, []byte{0, 0, 0, byte(at), 0, 1, byte(i), 0, 0, 1, 0, 1, 0, 0})
		}
	}
	return out
}

// aboutAll are the kinds that can be about everybody: of those of the system's namespace the neighbours alone
// are told too. Of aboutEverybody there are no others.
var (
	aboutEverybody = []string{"Mesh", "Node"}
	aboutAll       = []string{"Mesh", "Node", "MeshPolicy", "Secret", "ConfigMap", "Certificate"}
)

// suffer draws objects and puts them beside the neighbours, in some commits.
func suffer(t *testing.T, choices []byte) *drawnWorld {
	d := &draw{choices}
	with := newDrawnWorld(t)
	for range d.n(4) {
		with.put(d.object(with.kinds(aboutAll, true), []string{v1alpha1.SystemNamespace}))
	}
	with.commit()
	without, own := maps.Clone(with.seen), len(with.drawn)
	if d.n(4) < 3 {
		with.waiting = slices.Clone(ground()) // or with nothing of its own
	}
	for range 2 + d.n(24) {
		with.put(d.object(with.kinds(aboutEverybody, false), ownNamespaces))
		if d.n(3) == 0 {
			with.commit()
		}
		if d.n(4) == 3 {
			demand(with.core, fmt.Sprintf("10.9.1.%d:8080", 16+d.n(200)), d.n(3) > 0)
		}
		if d.n(6) == 5 {
			with.put(ended(with.drawn[own+d.n(len(with.drawn)-own)]))
		}
	}
	with.commit()
	undisturbed(t, without, with.seen)
	fresh := &world{t, again(with.core), map[string]string{}, with.text}
	fresh.commit()
	for what, is := range with.seen { // a certificate that became unusable stays in force until a restart, and what a module is awaited for
		if _, has := fresh.seen[what]; !has && (strings.HasPrefix(what, "secret secret/") || strings.HasPrefix(what, "extension policy/")) {
			fresh.seen[what] = is
		}
	}
	if !maps.Equal(fresh.seen, with.seen) {
		t.Errorf("from scratch it is another world:\n%s", distance(with.seen, fresh.seen))
	}
	if t.Failed() {
		for _, o := range with.drawn {
			text, err := yaml.Marshal(o.Object)
			t.Logf("# %s\n%s%v", o.of.Name(), text, err) // some are drawn with what is no JSON
		}
	}
	return with
}

// ended is an object that is being deleted.
func ended(o drawn) drawn {
	o.Object = o.Object.(runtime.Object).DeepCopyObject().(metav1.Object)
	o.SetDeletionTimestamp(new(metav1.Now()))
	return o
}

// undisturbed compares what there is beside the neighbours with what there is without. A label that some policy
// names makes more places of one: what is seen there has the variants that it had. A policy about all, drawn before, is
// told where another is nearer.
func undisturbed(t *testing.T, without, with map[string]string) {
	for what, is := range without {
		if with[what] != is && !strings.HasPrefix(what, "scope @at/") && !strings.HasPrefix(what, "status MeshPolicy "+v1alpha1.SystemNamespace+"/") {
			t.Errorf("%s is another beside what was drawn:\n%s", what, difference(is, with[what]))
		}
	}
	for what := range with {
		if _, was := without[what]; !was && ofNeighbours.MatchString(what) {
			t.Errorf("%s comes of what was drawn", what)
		}
	}
}

// ofNeighbours are the scopes, and the ports of Gateways, that only the neighbours' own objects fill.
var ofNeighbours = regexp.MustCompile(`^(scope (@mesh/|@pod/)?(good|better)[/ ]|ports of (good|better)/|status \S+ (good|better)/|certificates (good|better)/)`)

// distance lists the things of which two worlds say something else.
func distance(a, b map[string]string) string {
	var out []string
	for what := range a {
		if a[what] != b[what] {
			out = append(out, what+"\n"+difference(a[what], b[what]))
		}
	}
	for what := range b {
		if _, has := a[what]; !has {
			out = append(out, what+" is missing")
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// drawnWorld is a world with the neighbours in it, of whose resources the messages are kept and checked.
type drawnWorld struct {
	*world
	tables  []objectTable
	waiting []drawn
	drawn   []drawn // all that was put
}

func newDrawnWorld(t *testing.T) *drawnWorld {
	w := &drawnWorld{world: newWorld(t)}
	w.tables = objectTables(w.core.tables)
	w.text = checked
	if t == nil {
		return w
	}
	w.waiting = goodNeighbours()
	w.commit()
	return w
}

// goodNeighbours are those of the mistakes, in namespaces of their own; ground is the same once more, in the
// namespaces of what is drawn, which so meets something.
var (
	goodNeighbours = sync.OnceValue(func() []drawn { return settled("good", "better") })
	ground         = sync.OnceValue(func() []drawn {
		return slices.DeleteFunc(settled("a", "b"), func(o drawn) bool { return slices.Contains([]string{"Node", "GatewayClass"}, o.of.Name()) })
	})
)

func settled(shop, back string) (out []drawn) {
	text := strings.NewReplacer("namespace: shop", "namespace: "+shop, "namespace: back", "namespace: "+back, "name: shop,", "name: "+shop+",", "name: back,", "name: "+back+",").Replace(string(must(os.ReadFile(neighbours))))
	for _, o := range objectsIn(text) {
		stamp(o)
		o.SetUID(types.UID(o.GetNamespace() + "/" + o.GetName()))
		if pod, is := o.Object.(*corev1.Pod); is {
			pod.UID = types.UID(pod.Name) // as EndpointSlices name it
		}
		if shop != "good" {
			assign(o.Object)
		}
		out = append(out, o)
	}
	return out
}

// kinds are the tables of some kinds, or of all others.
func (w *drawnWorld) kinds(names []string, of bool) (out []objectTable) {
	for _, t := range w.tables {
		if slices.Contains(names, t.of.Name()) == of {
			out = append(out, t)
		}
	}
	return out
}

// commit takes what waits, as one change.
func (w *drawnWorld) commit() {
	w.core.tables.Graph.Commit(func() {
		for _, o := range w.waiting {
			i := slices.IndexFunc(w.tables, func(t objectTable) bool { return t.of == o.of })
			w.tables[i].put(o.Object)
		}
	})
	w.waiting = nil
	w.world.commit()
}

// put has an object that was drawn wait for the next commit.
func (w *drawnWorld) put(o drawn) {
	w.waiting = append(w.waiting, o)
	w.drawn = append(w.drawn, o)
}

// messages are the resources that were checked, by version; of very many the last ones.
var messages = map[string]proto.Message{}

// checked keeps a resource, and says which version of it there is.
func checked(t *testing.T, r *discovery.Resource) string {
	if r == nil {
		return ""
	}
	if len(messages) > 50_000 {
		clear(messages)
	}
	if messages[r.Version] == nil {
		m, err := r.Resource.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		messages[r.Version] = m
		for _, problem := range invalid(m) {
			t.Errorf("%s: %s", r.Name, problem)
		}
	}
	return r.Version
}

// proxies are the resources that each kind of proxy sees in the end, by its scope, under those of its base.
func (w *drawnWorld) proxies() map[string][]proto.Message {
	seen := map[string]map[string]proto.Message{} // by scope and kind and name
	for what, variant := range w.seen {
		scope, name, is := strings.Cut(strings.TrimPrefix(what, "scope "), " ")
		if m := messages[w.seen[name+strings.TrimPrefix(variant, "seen")]]; is && strings.HasPrefix(what, "scope ") && m != nil {
			if seen[scope] == nil {
				seen[scope] = map[string]proto.Message{}
			}
			seen[scope][name] = m
		}
	}
	out := map[string][]proto.Message{}
	for scope := range seen {
		if strings.HasPrefix(scope, mesh.MeshScope) || strings.HasPrefix(scope, "@at/") {
			continue // a base, which no proxy has alone
		}
		for _, l := range localitiesIn(seen) {
			all := map[string]proto.Message{}
			for _, s := range slices.Backward(mesh.SeenIn(mesh.At(l, scope))) {
				maps.Copy(all, seen[s])
			}
			out[mesh.At(l, scope)] = slices.Collect(maps.Values(all))
		}
	}
	return out
}

// localitiesIn are those that something is arranged for, and none.
func localitiesIn[V any](scopes map[string]V) []room.Locality {
	out := []room.Locality{""}
	for scope := range scopes {
		if at, is := strings.CutPrefix(scope, "@at/"); is {
			l, _, _ := strings.Cut(at, "|")
			out = append(out, room.Locality(l))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// invalid is what Envoy's own rules say against a message, and against those packed into it.
func invalid(m proto.Message) (out []string) {
	check := func(m proto.Message) {
		if v, is := m.(interface{ ValidateAll() error }); is {
			if err := v.ValidateAll(); err != nil {
				out = append(out, err.Error())
			}
		}
	}
	check(m)
	err := protorange.Range(m.ProtoReflect(), func(p protopath.Values) error {
		if last := p.Index(-1); last.Step.Kind() == protopath.AnyExpandStep {
			check(last.Value.Message().Interface())
		}
		return nil
	})
	if err != nil {
		out = append(out, err.Error())
	}
	return out
}
