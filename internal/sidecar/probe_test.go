package sidecar

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

func podOf(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProbes(t *testing.T) {
	for name, c := range map[string]struct{ spec, want string }{
		"none":         {`containers: [{name: app}]`, ``},
		"exec is none": {`containers: [{name: app, livenessProbe: {exec: {command: ["true"]}}}]`, ``},
		"by number":    {`containers: [{name: app, livenessProbe: {httpGet: {port: 8080, path: /live}}}]`, `8080 HTTP /live`},
		"by name": {`
containers:
- name: app
  ports: [{name: web, containerPort: 8080}, {name: admin, containerPort: 9000}]
  readinessProbe: {httpGet: {port: admin, path: "/ready?deep=1", scheme: HTTPS}}
`, `9000 HTTPS /ready?deep=1`},
		"a name of another container": {`
containers:
- {name: other, ports: [{name: web, containerPort: 8080}]}
- {name: app, livenessProbe: {tcpSocket: {port: web}}}
`, ``},
		"another host": {`containers: [{name: app, livenessProbe: {tcpSocket: {port: 80, host: 127.0.0.1}}, startupProbe: {httpGet: {port: 80, host: example.com}}}]`, ``},
		"no port":      {`containers: [{name: app, livenessProbe: {tcpSocket: {port: 70000}}, startupProbe: {tcpSocket: {port: 0}}}]`, ``},
		"gRPC": {`containers: [{name: app, livenessProbe: {grpc: {port: 90}}, readinessProbe: {grpc: {port: 90, service: shop.Cart}}}]`,
			"90 GRPC \n90 GRPC shop.Cart"},
		"in order, once": {`
containers:
- {name: a, startupProbe: {httpGet: {port: 81, path: /b}}, livenessProbe: {httpGet: {port: 81, path: /a}}, readinessProbe: {tcpSocket: {port: 80}}}
- {name: b, startupProbe: {tcpSocket: {port: 80}}, livenessProbe: {httpGet: {port: 80, path: /}}}
`, "80 HTTP /\n80 TCP\n81 HTTP /a\n81 HTTP /b"},
		"hooks": {`containers: [{name: app, lifecycle: {postStart: {httpGet: {port: 80, path: /begin}}, preStop: {httpGet: {port: 80, path: /end}}}}]`,
			"80 HTTP /begin\n80 HTTP /end"},
		"of other sidecars, not of the proxy": {`
initContainers:
- {name: weft-proxy, restartPolicy: Always, readinessProbe: {httpGet: {port: 15021, path: /ready}}}
- {name: logs, restartPolicy: Always, readinessProbe: {httpGet: {port: 2020, path: /ready}}}
containers: [{name: app}]
`, "2020 HTTP /ready"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &corev1.Pod{}
			if err := yaml.UnmarshalStrict([]byte(c.spec), &p.Spec); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, probe := range Probes(p) {
				line := fmt.Sprintf("%d %s", probe.Port, probe.Kind)
				switch probe.Kind {
				case HTTP, HTTPS:
					line += " " + probe.Path
				case GRPC:
					line += " " + probe.Service
				}
				got = append(got, line)
			}
			if text := strings.Join(got, "\n"); text != c.want {
				t.Errorf("got\n%s\nwant\n%s", text, c.want)
			}
		})
	}
}

// FuzzProbePath asks as the kubelet does: a GET of a URL made of the probe's path.
func FuzzProbePath(f *testing.F) {
	for _, seed := range []string{
		"", "/", "/live", "live", "/a?b=c&d", "/a?", "/a#b", "/a b", "/%2F", "/%zz", "//host/a", "http://other/a", "/ä", "?a", "#a", ":", "/a%20b", "mailto:x", "/a;b", "/\x7f",
	} {
		f.Add(seed)
	}
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RequestURI }))
	f.Cleanup(server.Close)
	at := server.Listener.Addr().String()
	f.Fuzz(func(t *testing.T, path string) {
		request, err := http.NewRequest(http.MethodGet, kubeletURL(at, path), nil)
		if err != nil {
			return // the kubelet asks nothing
		}
		seen = ""
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			return
		}
		response.Body.Close()
		if got := requestURI(path); got != seen && response.StatusCode == http.StatusOK {
			t.Errorf("path %q: %q, but the kubelet sends %q", path, got, seen)
		}
	})
}

func TestExcludedInbound(t *testing.T) {
	p := podOf(t, `metadata: {annotations: {mesh.weft.dev/exclude-inbound-ports: "9000, 80,80"}}`)
	if got := fmt.Sprint(ExcludedInbound(p)); got != "[80 9000]" {
		t.Error(got)
	}
	for _, none := range []string{"{}", `metadata: {annotations: {mesh.weft.dev/exclude-inbound-ports: "80, x"}}`} {
		if got := ExcludedInbound(podOf(t, none)); got != nil {
			t.Errorf("%s: %v", none, got)
		}
	}
}

func TestNamedPortIsTheFirst(t *testing.T) {
	c := corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 1}, {Name: "web", ContainerPort: 2}}}
	if got := portOf(c, intstr.FromString("web")); got != 1 {
		t.Error(got)
	}
}

// kubeletURL is what k8s.io/kubernetes/pkg/probe/http makes of a path.
func kubeletURL(hostPort, path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	u.Scheme, u.Host = "http", hostPort
	return u.String()
}
