package core

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/cluster"
)

// objectTable is one of the tables that hold Kubernetes objects.
type objectTable struct {
	of          reflect.Type
	set, delete reflect.Value
}

// objectTables are those of all kinds that the core reads: there is no list of them that a new kind could be
// missing from.
func objectTables(t *cluster.Tables) (out []objectTable) {
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		set := v.Field(i).MethodByName("Set")
		if !set.IsValid() {
			continue // the graph, or an index
		}
		if of := set.Type().In(1); of.Implements(reflect.TypeFor[metav1.Object]()) {
			out = append(out, objectTable{of.Elem(), set, v.Field(i).MethodByName("Delete")})
		}
	}
	return out
}

// copyTables fills all tables with what others hold: a new one cannot be forgotten.
func copyTables(from, to *cluster.Tables) {
	v, w := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()
	for i := range v.NumField() {
		if set := w.Field(i).MethodByName("Set"); set.IsValid() {
			v.Field(i).MethodByName("Each").Call([]reflect.Value{set})
		}
	}
}

// put sets an object or, if it is being deleted, takes the one of its name away.
func (t objectTable) put(o metav1.Object) {
	key := reflect.ValueOf(strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
	if o.GetDeletionTimestamp() != nil {
		t.delete.Call([]reflect.Value{key})
		return
	}
	t.set.Call([]reflect.Value{key, reflect.ValueOf(o)})
}

// holds says whether a kind is the table's: SMI has names of kinds that Gateway API has too.
func (t objectTable) holds(kind metav1.TypeMeta) bool {
	return t.of.Name() == kind.Kind && strings.Contains(t.of.PkgPath(), "smi") == strings.Contains(kind.APIVersion, "smi-spec.io")
}

// draw makes choices of bytes, and once there are none left, always the first.
type draw struct{ bytes []byte }

// n is one of 0 to most-1.
func (d *draw) n(most int) int {
	if len(d.bytes) == 0 || most < 2 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % most
}

func (d *draw) of(xs []string) string { return xs[d.n(len(xs))] }

// drawn is an object and the table that it is for.
type drawn struct {
	objectTable
	metav1.Object
}

// Where objects are drawn, and how they are called. Those of other namespaces are the neighbours'.
var (
	ownNamespaces = []string{"a", "b"}
	objectNames   = []string{"cart", "edge", "stock", "bad", "pay", "cert", "roots", "raw", "dns", "weft", "edge-weft", "more"}
)

// Kinds that have no namespace, with the names of those that are drawn of them. A Mesh and a Node are about
// everybody.
var unscoped = map[string][]string{"GatewayClass": {"bad", "worse"}, "Namespace": ownNamespaces, "Node": {"one", "two"}, "Mesh": {"default"}, "XMesh": {"bad", "worse"}}

// object draws one: an example, or one of any fields, with some of its fields drawn anew.
func (d *draw) object(tables []objectTable, in []string) drawn {
	t := tables[d.n(len(tables))]
	if d.n(3) == 2 { // most of what can be written is in routes
		t = d.route(tables, t)
	}
	o := reflect.New(t.of)
	if all := examples()[t.of]; len(all) > 0 && d.n(4) > 0 {
		o = reflect.ValueOf(all[d.n(len(all))].(runtime.Object).DeepCopyObject())
	} else {
		d.fill(o.Elem(), "", 0)
	}
	for range d.n(4) {
		d.mutate(o.Elem())
	}
	meta := o.Interface().(metav1.Object)
	d.name(meta, t.of.Name(), in)
	assign(meta)
	return drawn{t, meta}
}

// stamp makes an object another one than all before.
func stamp(o metav1.Object) {
	versions++
	o.SetResourceVersion(fmt.Sprint(versions))
	o.SetGeneration(versions)
}

// assign gives an object the addresses that a cluster gives to one only, in ranges that the neighbours are in.
func assign(o metav1.Object) {
	h := fnv.New32()
	h.Write([]byte(o.GetNamespace() + "/" + o.GetName()))
	// Of those that are drawn no two have the same: Envoy takes an address once.
	in, of := h.Sum32()>>16%64, 16+h.Sum32()%200
	switch o := o.(type) {
	case *corev1.Service:
		if o.Spec.ClusterIP != corev1.ClusterIPNone {
			o.Spec.ClusterIP = fmt.Sprintf("10.96.%d.%d", map[string]uint32{"a": 16, "b": 96}[o.Namespace]+in, of)
		}
		o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
	case *corev1.Pod:
		for i := range o.Status.PodIPs {
			o.Status.PodIPs[i].IP = []string{fmt.Sprintf("10.9.1.%d", of), fmt.Sprintf("fd00::%x", of)}[i%2]
		}
	}
}

// route is the table of a kind of route of some, if they have any; else t.
func (d *draw) route(tables []objectTable, t objectTable) objectTable {
	routes := slices.DeleteFunc(slices.Clone(tables), func(t objectTable) bool { return !strings.HasSuffix(t.of.Name(), "Route") })
	if len(routes) == 0 {
		return t
	}
	return routes[d.n(len(routes))]
}

func (d *draw) name(o metav1.Object, kind string, in []string) {
	if names, is := unscoped[kind]; is {
		o.SetNamespace("")
		o.SetName(d.of(names))
	} else {
		o.SetNamespace(d.of(in))
		if o.GetName() == "" || d.n(4) == 0 {
			o.SetName(d.of(objectNames))
		}
	}
	stamp(o)
	o.SetUID(types.UID(o.GetNamespace() + "/" + o.GetName()))
	o.SetCreationTimestamp(metav1.NewTime(time.Date(2026, 1, 1+d.n(3), 0, 0, 0, 0, time.UTC)))
}

// mutate draws something inside of v anew.
func (d *draw) mutate(v reflect.Value) {
	for depth := 0; ; depth++ {
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil(), v.Kind() == reflect.Interface && !v.IsNil():
			v = v.Elem()
		case v.Kind() == reflect.Slice && v.Len() > 0 && d.n(4) > 0 && v.Type().Elem().Kind() != reflect.Uint8:
			v = v.Index(d.n(v.Len()))
		case v.Kind() == reflect.Struct && !leaf(v) && (depth == 0 || d.n(8) > 0) && len(fieldsOf(v.Type())) > 0:
			fields := fieldsOf(v.Type())
			at := fields[d.n(len(fields))]
			if f := v.Field(at); leaf(f) {
				d.fill(f, v.Type().Field(at).Name, 0)
				return
			}
			v = v.Field(at)
		default:
			d.fill(v, "", 0)
			return
		}
	}
}

func leaf(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		return v.Type() == reflect.TypeFor[intstr.IntOrString]() || v.Type() == reflect.TypeFor[metav1.Duration]()
	case reflect.Pointer, reflect.Slice:
		return v.IsNil()
	}
	return true
}

// fieldsOf are the fields of a type that are drawn: of pods and their containers those that Weft keeps.
func fieldsOf(t reflect.Type) (out []int) {
	only := map[string][]string{
		"PodSpec":    {"ServiceAccountName", "NodeName", "HostNetwork", "Containers", "InitContainers"},
		"Container":  {"Name", "Ports", "LivenessProbe", "ReadinessProbe", "RestartPolicy"},
		"ObjectMeta": {"Labels", "Annotations"},
		"Time":       {"-"},
		"Quantity":   {"-"},
	}[t.Name()]
	for i := range t.NumField() {
		f := t.Field(i)
		written := strings.Contains(t.PkgPath(), "gateway-api") || strings.Contains(t.PkgPath(), "weft")
		if !f.IsExported() || f.Name == "TypeMeta" || f.Name == "Status" && written || only != nil && !slices.Contains(only, f.Name) {
			continue
		}
		out = append(out, i)
	}
	return out
}

// fill draws a value.
func (d *draw) fill(v reflect.Value, field string, depth int) {
	v.SetZero()
	if depth > 12 {
		return
	}
	switch v.Interface().(type) {
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.Parse(d.of([]string{"8080", "http", "80", "0"}))))
		return
	case metav1.Duration:
		v.Field(0).SetInt(int64(time.Second) * int64(d.n(7)))
		return
	case []byte:
		v.SetBytes([]byte(d.of(pems())))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(d.text(v.Type(), field))
	case reflect.Bool:
		v.SetBool(d.n(2) > 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(d.number(v.Type(), field))
	case reflect.Pointer:
		if d.n(2) > 0 && (field != "SessionPersistence" || d.n(4) == 3) { // with one a rule is left out
			v.Set(reflect.New(v.Type().Elem()))
			d.fill(v.Elem(), field, depth+1)
		}
	case reflect.Slice:
		for range d.n(3) {
			one := reflect.New(v.Type().Elem()).Elem()
			d.fill(one, field, depth+1)
			v.Set(reflect.Append(v, one))
		}
	case reflect.Map:
		d.fillMap(v, field)
	case reflect.Struct:
		for _, i := range fieldsOf(v.Type()) {
			d.fill(v.Field(i), v.Type().Field(i).Name, depth+1)
		}
		d.decide(v, depth)
		d.meet(v)
	}
}

// meet has most references be to what is there, or little of what is drawn would ever be reached.
func (d *draw) meet(v reflect.Value) {
	switch ref := v.Addr().Interface().(type) {
	case *gwv1.BackendObjectReference:
		if d.n(4) > 0 {
			*ref = gwv1.BackendObjectReference{Name: "cart", Port: new(gwv1.PortNumber(80))}
		}
	case *gwv1.ParentReference:
		switch d.n(4) {
		case 1, 2:
			*ref = gwv1.ParentReference{Name: "edge"}
		case 3:
			*ref = gwv1.ParentReference{Group: new(gwv1.Group("")), Kind: new(gwv1.Kind("Service")), Name: "cart"}
		}
	}
}

func (d *draw) fillMap(v reflect.Value, field string) {
	if v.Type().Key().Kind() != reflect.String {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range d.n(3) {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.SetString(d.of(words(field+"Key", "app", "team", "kubernetes.io/service-name")))
		d.fill(value, field, 8)
		v.SetMapIndex(key, value)
	}
}

// decide makes a union of a struct that has a Type beside what the types stand for, as the API server
// wants it; seldom not.
func (d *draw) decide(v reflect.Value, depth int) {
	of := v.FieldByName("Type")
	if !of.IsValid() || of.Kind() != reflect.String || d.n(8) == 7 {
		return
	}
	var members []int
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Pointer {
			members = append(members, i)
		}
	}
	if len(members) < 2 {
		return
	}
	is := members[d.n(len(members))]
	for _, i := range members {
		if i != is {
			v.Field(i).SetZero()
		}
	}
	of.SetString(v.Type().Field(is).Name)
	if v.Field(is).IsNil() {
		v.Field(is).Set(reflect.New(v.Type().Field(is).Type.Elem()))
		d.fill(v.Field(is).Elem(), v.Type().Field(is).Name, depth+1)
	}
}

func (d *draw) text(t reflect.Type, field string) string {
	return d.of(words(t.Name(), words(field, words("", objectNames...)...)...))
}

// words are what is drawn for a type or a field of that name.
func words(name string, otherwise ...string) []string {
	if known := vocabulary()[name]; name != "string" && len(known) > 0 {
		return known
	}
	return otherwise
}

func (d *draw) number(t reflect.Type, field string) int64 {
	all, known := numbers[t.Name()]
	if !known {
		all, known = numbers[field]
	}
	if !known {
		all = []int64{1, 0, 2, 80, 8080}
	}
	return all[d.n(len(all))]
}

// examples are objects as users write them, rightly and wrongly, by their type.
var examples = sync.OnceValue(func() map[reflect.Type][]metav1.Object {
	out := map[reflect.Type][]metav1.Object{}
	for _, text := range exampleTexts() {
		for _, o := range objectsIn(text) {
			out[o.of] = append(out[o.of], o.Object)
		}
	}
	return out
})

// objectsIn are those of a YAML stream, with the tables that they are for.
func objectsIn(text string) (out []drawn) {
	tables := objectTables(cluster.NewTables())
	for _, doc := range bytes.Split([]byte(text), []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			panic(err)
		}
		i := slices.IndexFunc(tables, func(t objectTable) bool { return t.holds(kind) })
		if i < 0 { // a fact
			continue
		}
		o := reflect.New(tables[i].of).Interface().(metav1.Object)
		if err := yaml.Unmarshal(doc, o); err != nil {
			panic(err)
		}
		out = append(out, drawn{tables[i], o})
	}
	return out
}

// exampleTexts are the neighbours and the mistakes, in the namespaces that are drawn.
func exampleTexts() (out []string) {
	here := strings.NewReplacer("namespace: shop", "namespace: a", "namespace: back", "namespace: b")
	out = append(out, here.Replace(string(must(os.ReadFile(neighbours)))))
	for _, path := range must(filepath.Glob("testdata/mistakes/*.txtar")) {
		for _, f := range must(txtar.ParseFile(path)).Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				out = append(out, here.Replace(string(f.Data)))
			}
		}
	}
	return out
}

// pems are what Secrets and ConfigMaps hold in the examples, and what is nothing.
var pems = sync.OnceValue(func() []string {
	out := []string{"", "nothing"}
	for _, o := range slices.Concat(slices.Collect(maps.Values(examples()))...) {
		for _, field := range []string{"Data"} {
			v := reflect.ValueOf(o).Elem().FieldByName(field)
			if !v.IsValid() || v.Kind() != reflect.Map {
				continue
			}
			for _, k := range v.MapKeys() {
				if text := fmt.Sprintf("%s", v.MapIndex(k).Interface()); !slices.Contains(out, text) {
					out = append(out, text)
				}
			}
		}
	}
	slices.Sort(out)
	return out
})
