package metrics

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	corev1 "k8s.io/api/core/v1"
)

// Request is what is asked for.
type Request struct {
	Version   string
	Kind      Kind
	Namespace string // empty: all
	Name      string // empty: all of the kind. Of a Namespace too
	Edges     bool   // of the one that is named
	Window    time.Duration
}

// Window is how far back figures go unless the parameter t says otherwise, within MinWindow and MaxWindow.
const (
	Window    = 30 * time.Second
	MinWindow = 10 * time.Second
	MaxWindow = time.Hour
)

// Problem is why a Request has no answer: an HTTP status, and what to do about it. The zero Problem is
// none.
type Problem struct {
	Code    int
	Message string
}

func problem(code int, format string, args ...any) Problem {
	return Problem{code, fmt.Sprintf(format, args...)}
}

// Parse reads what comes after /apis/metrics.smi-spec.io/ in a path, from the version on, and the parameters.
func Parse(path string, parameters url.Values) (Request, Problem) {
	version, rest, _ := strings.Cut(path, "/")
	r, known := place(version, strings.Split(rest, "/"))
	if !known {
		return r, problem(http.StatusNotFound, "there is no %q: ask for namespaces, or for namespaces/<namespace>/ and one of %s, then a name, then edges", path, plurals(version))
	}
	if p := r.checkNames(); p != (Problem{}) {
		return r, p
	}
	for _, selector := range []string{"labelSelector", "fieldSelector"} {
		if parameters.Get(selector) != "" {
			return r, problem(http.StatusBadRequest, "parameter %s: TrafficMetrics cannot be selected: leave it out, or ask by name", selector)
		}
	}
	if watch := parameters.Get("watch"); watch != "" && watch != "false" && watch != "0" {
		return r, problem(http.StatusMethodNotAllowed, "parameter watch: TrafficMetrics cannot be watched: ask again from time to time")
	}
	var p Problem
	r.Window, p = window(parameters.Get("t"))
	return r, p
}

// place reads the parts of a path after the version.
func place(version string, parts []string) (r Request, known bool) {
	if slices.Contains(parts, "") {
		return r, false
	}
	if n := len(parts); (n == 3 || n == 5) && parts[n-1] == "edges" {
		r.Edges, parts = true, parts[:n-1]
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		r.Namespace, parts = parts[1], parts[2:]
	}
	if len(parts) == 2 {
		r.Name = parts[1]
	}
	r.Version = version
	r.Kind, known = kindOf(version, parts[0])
	inNamespace := r.Namespace != ""
	switch {
	case len(parts) > 2, inNamespace && !r.Kind.Namespaced:
		known = false
	case r.Name != "" && inNamespace != r.Kind.Namespaced, r.Edges && (r.Name == "" || !r.Kind.hasEdges()):
		known = false
	}
	return r, known
}

func plurals(version string) string {
	var all []string
	for _, k := range kindsOf(version) {
		if k.Namespaced {
			all = append(all, k.Name)
		}
	}
	return strings.Join(all, ", ")
}

// checkNames leaves nothing in a name that means something in a query.
func (r Request) checkNames() Problem {
	for what, name := range map[string]string{"namespace": r.Namespace, "name": r.Name} {
		if problems := validation.IsDNS1123Subdomain(name); name != "" && len(problems) > 0 {
			return problem(http.StatusBadRequest, "%s %q: %s", what, name, strings.Join(problems, "; "))
		}
	}
	return Problem{}
}

// window is whole seconds: PromQL has no fractions.
func window(text string) (time.Duration, Problem) {
	if text == "" {
		return Window, Problem{}
	}
	w, err := time.ParseDuration(text)
	if err != nil || w < MinWindow || w > MaxWindow || w%time.Second != 0 {
		return 0, problem(http.StatusBadRequest, "parameter t=%q: write whole seconds from %s to %s, such as 30s or 5m; two intervals between scrapes or more", text, MinWindow, MaxWindow)
	}
	return w, Problem{}
}

// Resource is what the Request is about: one resource, or with no name all of them.
func (r Request) Resource() corev1.ObjectReference {
	return corev1.ObjectReference{Kind: r.Kind.Kind, Namespace: r.Namespace, Name: r.Name}
}
