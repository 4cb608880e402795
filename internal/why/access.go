package why

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/smi"
)

// accessed is whether TrafficTargets let it in.
func (e *explaining) accessed() {
	access := e.called.Requests
	if e.request == nil {
		access = e.called.Bytes
	}
	if !access.Guarded {
		return
	}
	c := Check{Name: "trafficTargets", Level: "ServiceAccount", Status: e.forbidden()}
	var misses []string
	for _, a := range access.Allows {
		miss := e.misses(access, a)
		if miss == "" {
			c.Passed, c.Status, c.Rule, c.Why = true, 0, a.Name, "TrafficTarget "+targetOf(a.Name)+" allows it"
			e.check(c)
			return
		}
		misses = append(misses, fmt.Sprintf("%s: %s", a.Name, miss))
	}
	c.Why = "TrafficTargets are about the ServiceAccount, and none allows it"
	if len(misses) > 0 {
		c.Why += ": " + strings.Join(misses, "; ")
	}
	e.check(c)
}

// targetOf is the key of the TrafficTarget that an Allow is of.
func targetOf(allow string) string { return strings.Join(strings.SplitN(allow, "/", 4)[1:3], "/") }

// misses is what keeps an Allow from letting the call in; "": it does.
func (e *explaining) misses(by mesh.Access, a smi.Allow) string {
	var of []string
	for _, s := range a.Sources {
		namespace, name, _ := strings.Cut(s, "/")
		of = append(of, mesh.SPIFFEID(by.TrustDomain, namespace, name))
	}
	switch {
	case e.from.Principal == "":
		return "source.principal is absent, it takes " + strings.Join(of, " or ")
	case !slices.Contains(of, e.from.Principal):
		return fmt.Sprintf("source.principal is %s, it takes %s", e.from.Principal, strings.Join(of, " or "))
	case len(a.Ports) > 0 && !slices.Contains(a.Ports, e.called.Port):
		return fmt.Sprintf("destination.port is %d, it takes %v", e.called.Port, a.Ports)
	case e.request == nil && (a.Traffic == smi.Requests || a.Traffic == smi.DeclaredBytes && by.Name != mesh.AccessBytes):
		return "it takes requests, and this is a connection without HTTP"
	case e.request == nil || a.Traffic == smi.Bytes:
		return ""
	case a.Traffic == smi.DeclaredBytes:
		return "it takes what is sent to ports that are declared to carry no HTTP"
	}
	return missesRequest(a.Request, *e.request)
}

// missesRequest is the same of what a request is described by.
func missesRequest(a smi.Request, q opa.Request) string {
	if len(a.Methods) > 0 && !slices.Contains(a.Methods, q.Method) {
		return fmt.Sprintf("request.method is %s, it takes %s", q.Method, strings.Join(a.Methods, " or "))
	}
	if a.Path != "" && !whole(a.Path, q.Path) {
		return fmt.Sprintf("request.path is %s, it takes %s", q.Path, a.Path)
	}
	if a.Path != "" && a.Path != ".*" {
		for _, part := range []string{"%25", ";", "%3b", "%3f", "%23"} {
			if strings.Contains(strings.ToLower(q.Path), part) && !strings.Contains(strings.ToLower(a.Path), part) {
				return fmt.Sprintf("request.path has %s, which an app may read otherwise than a proxy does", part)
			}
		}
	}
	for _, h := range a.Headers {
		value, is := q.Headers[h.Name]
		if !is {
			return fmt.Sprintf("request.headers[%s] is absent, it takes %s", h.Name, h.Value)
		}
		if !whole(h.Value, value) {
			return fmt.Sprintf("request.headers[%s] is %q, it takes %s", h.Name, value, h.Value)
		}
	}
	return ""
}

// whole says whether an expression, which smi has checked, matches all of a text.
func whole(expression, text string) bool {
	e, err := regexp.Compile("^(?s:" + expression + ")$")
	return err == nil && e.MatchString(text)
}
