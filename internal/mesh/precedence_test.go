package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
)

// shop has a Service with a port by number, one by name and one that leads to the port of its own
// number; the workload is one of its pods.
var shop = workload{
	Namespace: "shop", ServiceAccount: "orders", Labels: map[string]string{"app": "orders", "tier": "back"},
	Services: []string{"shop/all", "shop/orders"}, Ports: map[string]int32{"admin": 9000},
}

func shopServices() []*corev1.Service {
	return []*corev1.Service{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)},
			{Name: "admin", Port: 81, TargetPort: intstr.FromString("admin")},
			{Name: "same", Port: 7000},
			{Name: "elsewhere", Port: 82, TargetPort: intstr.FromString("of-other-pods")},
		}},
	}, {
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "all"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}}
}

// meshWith holds the Services of the shop and policies, each "namespace: spec", the oldest first.
func meshWith(t *testing.T, policies ...string) *Mesh {
	t.Helper()
	tables := cluster.NewTables()
	m := New(tables)
	tables.Graph.Commit(func() {
		for _, s := range shopServices() {
			tables.Services.Set(key(s.Namespace, s.Name), s)
		}
		for i, text := range policies {
			p := policyFrom(t, text, i)
			tables.MeshPolicies.Set(key(p.Namespace, p.Name), p)
		}
	})
	return m
}

func policyFrom(t *testing.T, text string, i int) *v1alpha1.MeshPolicy {
	t.Helper()
	namespace, spec, _ := strings.Cut(text, ": ")
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: fmt.Sprint("p", i), CreationTimestamp: metav1.Unix(int64(i), 0), Generation: 1,
	}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

const (
	onOrders = "targetRefs: [{kind: Service, name: orders}], "
	onHTTP   = "targetRefs: [{kind: Service, name: orders, sectionName: http}], "
	onAdmin  = "targetRefs: [{kind: Service, name: orders, port: 81}], "
	onSame   = "targetRefs: [{kind: Service, name: orders, sectionName: same}], "
	onNone   = "targetRefs: [{kind: Service, name: orders, sectionName: elsewhere}], "
	onSA     = "targetRefs: [{kind: ServiceAccount, name: orders}], "
	onLabels = "targetRefs: [{pods: {selector: {matchLabels: {app: orders}}}}], "
	onOthers = "targetRefs: [{pods: {selector: {matchLabels: {app: cart}}}}], "
	strict   = "mtls: {mode: Strict}"
	lenient  = "mtls: {mode: Permissive}"
)

func TestMTLS(t *testing.T) {
	const open = "8080 9000 7000 -1"
	for name, c := range map[string]struct {
		policies   []string
		permissive string // of the ports 8080, 9000, 7000 and all others
	}{
		"nothing is written":                   {nil, ""},
		"the mesh":                             {[]string{"weft-system: {" + lenient + "}"}, open},
		"the namespace":                        {[]string{"shop: {" + lenient + "}"}, open},
		"another namespace":                    {[]string{"bank: {" + lenient + "}"}, ""},
		"the ServiceAccount":                   {[]string{"shop: {" + onSA + lenient + "}"}, open},
		"a ServiceAccount of another":          {[]string{"bank: {" + onSA + lenient + "}"}, ""},
		"labels":                               {[]string{"shop: {" + onLabels + lenient + "}"}, open},
		"labels of others":                     {[]string{"shop: {" + onOthers + lenient + "}"}, ""},
		"a Service: the ports it leads to":     {[]string{"shop: {" + onOrders + lenient + "}"}, "8080 9000 7000"},
		"another Service's ports":              {[]string{"shop: {targetRefs: [{kind: Service, name: all}], " + lenient + "}"}, "8080"},
		"a Service of another namespace":       {[]string{"bank: {" + onOrders + lenient + "}"}, ""},
		"a port that leads to a number":        {[]string{"shop: {" + onHTTP + lenient + "}"}, "8080"},
		"a port that leads to a name":          {[]string{"shop: {" + onAdmin + lenient + "}"}, "9000"},
		"a port that leads to its own":         {[]string{"shop: {" + onSame + lenient + "}"}, "7000"},
		"a port that leads to other pods":      {[]string{"shop: {" + onNone + lenient + "}"}, ""},
		"strict without, lenient within":       {[]string{"weft-system: {" + strict + "}", "shop: {" + onHTTP + lenient + "}"}, ""},
		"lenient without, strict within":       {[]string{"weft-system: {" + lenient + "}", "shop: {" + onHTTP + strict + "}"}, "9000 7000 -1"},
		"lenient at two levels":                {[]string{"shop: {" + lenient + "}", "shop: {" + onHTTP + lenient + "}"}, open},
		"two of a level, the strict older":     {[]string{"shop: {" + strict + "}", "shop: {" + lenient + "}"}, ""},
		"two of a level, the strict newer":     {[]string{"shop: {" + lenient + "}", "shop: {" + strict + "}"}, ""},
		"strict for labels of others":          {[]string{"shop: {" + lenient + "}", "shop: {" + onOthers + strict + "}"}, open},
		"strict on a port that does not exist": {[]string{"shop: {" + lenient + "}", "shop: {targetRefs: [{kind: Service, name: orders, port: 99}], " + strict + "}"}, open},
		"strict in shadow":                     {[]string{"shop: {" + lenient + "}", "shop: {mode: Shadow, " + strict + "}"}, open},
		"lenient in shadow":                    {[]string{"shop: {mode: Shadow, " + lenient + "}"}, ""},
		"a section about something else":       {[]string{"shop: {egress: {mode: Deny}}"}, ""},
		"a route is no workload":               {[]string{"shop: {targetRefs: [{kind: HTTPRoute, name: orders}], " + lenient + "}"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := meshWith(t, c.policies...)
			var got []string
			for _, port := range []int32{8080, 9000, 7000, otherPorts} {
				if mtlsMode(m.selecting(nil, shop, port)) == MTLSPermissive {
					got = append(got, fmt.Sprint(port))
				}
			}
			if is := strings.Join(got, " "); is != c.permissive {
				t.Errorf("permissive: %q; want %q", is, c.permissive)
			}
		})
	}
}

func TestShadowMTLS(t *testing.T) {
	shadow := "shop: {mode: Shadow, " + onHTTP + strict + "}"
	for name, c := range map[string]struct {
		policies []string
		by       string // which the port 8080 counts
	}{
		"beside Permissive":        {[]string{"shop: {" + lenient + "}", shadow}, "shop/p1"},
		"two of them":              {[]string{"shop: {" + lenient + "}", "shop: {mode: Shadow, " + onOrders + lenient + "}", shadow}, "shop/p2"},
		"beside Strict":            {[]string{"shop: {" + strict + "}", shadow}, ""},
		"beside the default":       {[]string{shadow}, ""},
		"Permissive beside Strict": {[]string{"shop: {" + strict + "}", "shop: {mode: Shadow, " + lenient + "}"}, ""},
		"none":                     {[]string{"shop: {" + lenient + "}"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := meshWith(t, c.policies...)
			if got := shadowMTLS(m.selecting(nil, shop, 8080)); got != c.by {
				t.Errorf("counts by %q; want %q", got, c.by)
			}
			for _, port := range []int32{9000, otherPorts} {
				if by := shadowMTLS(m.selecting(nil, shop, port)); by != "" {
					t.Errorf("port %d, which it is not about, counts by %s", port, by)
				}
			}
		})
	}
}

func TestEgress(t *testing.T) {
	const deny, allow = "egress: {mode: Deny}", "egress: {mode: Allow}"
	for name, c := range map[string]struct {
		policies []string
		want     EgressMode
		by       string // which unknown destinations are counted
	}{
		"nothing is written":           {nil, EgressAllow, ""},
		"the mesh":                     {[]string{"weft-system: {" + deny + "}"}, EgressDeny, ""},
		"an inner Allow":               {[]string{"weft-system: {" + deny + "}", "shop: {" + onLabels + allow + "}"}, EgressDeny, ""},
		"an inner Deny":                {[]string{"shop: {" + allow + "}", "shop: {" + onSA + deny + "}"}, EgressDeny, ""},
		"labels of others":             {[]string{"shop: {" + onOthers + deny + "}"}, EgressAllow, ""},
		"in shadow":                    {[]string{"shop: {mode: Shadow, " + deny + "}"}, EgressAllow, "shop/p0"},
		"in shadow, and enforced":      {[]string{"shop: {mode: Shadow, " + deny + "}", "shop: {" + deny + "}"}, EgressDeny, ""},
		"a Service is not who calls":   {[]string{"shop: {" + onOrders + deny + "}"}, EgressAllow, ""},
		"Allow in shadow says nothing": {[]string{"shop: {mode: Shadow, " + allow + "}"}, EgressAllow, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := meshWith(t, c.policies...)
			if got := egressMode(m.selecting(nil, shop, 0)); got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
			if got := shadowEgress(m.selecting(nil, shop, 0)); got != c.by {
				t.Errorf("counts by %q; want %q", got, c.by)
			}
		})
	}
}

func TestPoliciesOf(t *testing.T) {
	m := meshWith(t, "weft-system: {"+strict+"}", "shop: {"+onHTTP+strict+"}", "shop: {"+onOthers+strict+"}", "bank: {"+strict+"}", "shop: {"+onLabels+"egress: {mode: Deny}}")
	if got, want := m.policiesOf(nil, shop), []string{"shop/p1", "shop/p4", "weft-system/p0"}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
}
