// Package why tells why a call is let in, or is not.
//
//	the cluster's objects → internal/mesh: who is called, and what policies say there (as proxies are told it)
//	a Question ─→ Call, as proxies see it ─→ Court: OPA evaluates the whole policies ─→ Explanation
//
// What is compiled for Envoy is not asked: internal/envoy has a test that it answers as OPA does. Of a Call that was
// recorded, a Court says the same.
package why

import (
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Question is a call that somebody wants to be told of.
type Question struct {
	Source      Source
	Destination Destination
	Method      string // "": a connection without HTTP
	Path        string // with its query, as it is sent
	Host        string // "": the Service's name
	Headers     map[string][]string
	Claims      map[string]any // of a token that a provider made; nil: there is none
	SourceIP    string         // "": the pod's, where one is named
	At          time.Time
}

// Answer is what becomes of the call.
type Answer struct {
	Allowed bool `json:"allowed"` // by all that may be called
	// Explanations are one for all pods that decide alike.
	Explanations []Explanation `json:"explanations"`
}

// Explanation is what becomes of the call where some pods, or a Gateway, are called.
type Explanation struct {
	Allowed bool `json:"allowed"`
	// Status is what the caller is answered where it is not allowed; 0: nothing, the connection is closed.
	Status      int      `json:"status,omitempty"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Pods        []string `json:"pods,omitempty"`
	Port        int32    `json:"port"`
	Asks        string   `json:"asks"`
	// Checks are in the order in which the proxy makes them. What fails first is what the caller hears of.
	Checks []Check  `json:"checks"`
	Notes  []string `json:"notes,omitempty"`
	Call   Call     `json:"call"`
}

// Check is one thing that a call must pass.
type Check struct {
	Name   string `json:"name"`
	Level  string `json:"level,omitempty"` // of policies
	Passed bool   `json:"passed"`
	Status int    `json:"status,omitempty"` // as in Explanation, where it is not passed
	// Policies are the keys of those by which it is made, and Rule is that of them which decided.
	Policies []string `json:"policies,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	Why      string   `json:"why"`
	// Misses are rules that would have let it in, the nearest first; or those that deny it.
	Misses []Miss `json:"misses,omitempty"`
	// Shadow says that it is made by policies in Shadow, which refuse nothing.
	Shadow bool `json:"shadow,omitempty"`
}

// Explain answers a Question by what is in the tables of a mesh.
func Explain(m *mesh.Mesh, q Question) (Answer, error) {
	from, err := q.Source.find(m, q.SourceIP)
	if err != nil {
		return Answer{}, fmt.Errorf("SRC: %w", err)
	}
	called, err := q.Destination.find(m, q.Host)
	if err != nil {
		return Answer{}, fmt.Errorf("DST: %w", err)
	}
	out := Answer{Allowed: true}
	for _, c := range called {
		e := explaining{Question: q, mesh: m, from: from, called: c}
		if err := e.explain(); err != nil {
			return Answer{}, err
		}
		out.Allowed = out.Allowed && e.out.Allowed
		out.Explanations = append(out.Explanations, e.out)
	}
	return out, nil
}

// explaining is an Explanation in the making.
type explaining struct {
	Question
	mesh    *mesh.Mesh
	from    caller
	called  mesh.Called
	gateway bool
	taken   bool         // by a rule of a route, at a Gateway
	request *opa.Request // nil: a connection without HTTP
	out     Explanation
}

func (e *explaining) check(c Check) { e.out.Checks = append(e.out.Checks, c) }

func (e *explaining) note(format string, args ...any) {
	e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
}

func (e *explaining) explain() error {
	e.gateway = e.called.Destination.Gateway
	e.out.Source, e.out.Destination, e.out.Pods, e.out.Port = e.from.name, e.called.Name, e.called.Pods, e.called.Port
	e.out.Notes = append(e.out.Notes, e.from.notes...)
	e.asks()
	e.out.Call = Call{Input: e.input(), Tokens: map[string]map[string]any{}}
	guards := e.called.Guards
	switch {
	case e.called.Outside != "":
		e.note("no sidecar decides: %s. What gets there is let in, whatever policies say", e.called.Outside)
		e.conclude()
		return nil
	case len(e.out.Checks) > 0: // what has no form is asked nothing else
		e.conclude()
		return nil
	case e.gateway:
		guards = e.routed()
	default:
		e.mtls()
		e.accessed()
	}
	guards = e.enforced(guards)
	e.tokens(guards)
	if err := e.authorized(guards); err != nil {
		return err
	}
	e.others(guards)
	e.remarks(guards)
	e.conclude()
	return nil
}

// conclude says what comes of the checks.
func (e *explaining) conclude() {
	e.out.Allowed = true
	for _, c := range e.out.Checks {
		if !c.Passed && !c.Shadow {
			e.out.Allowed, e.out.Status = false, c.Status
			return
		}
	}
}

// asks finds what is asked for, as proxies read it.
func (e *explaining) asks() {
	e.out.Asks = "a connection without HTTP"
	if e.Method == "" {
		if e.called.Protocol.HTTP() && e.called.Outside == "" && !e.called.Destination.Gateway {
			e.check(Check{Name: "form", Why: fmt.Sprintf("port %d is declared to carry HTTP, and what is none is not let in there: write METHOD and PATH", e.called.Port)})
		}
		return
	}
	if !e.called.HTTP() && e.called.Outside == "" {
		e.note("port %d is declared to carry no HTTP: METHOD and PATH, headers and tokens are not asked there", e.called.Port)
		return
	}
	path, problem := PathOf(e.Path)
	if e.Host = withoutDot(e.Host); e.called.Outside != "" {
		problem = ""
	}
	e.out.Asks = e.Method + " " + path
	e.request = opa.RequestOf(e.Method, path, e.Host, e.Headers)
	if problem != "" {
		e.check(Check{Name: "form", Status: http.StatusBadRequest, Why: problem})
	} else if path != e.Path {
		e.note("proxies and policies read %s as %s", e.Path, path)
	}
}

// input is what is known of the call, but for tokens.
func (e *explaining) input() opa.Input {
	d, at := e.called.Destination, e.At.UTC()
	in := opa.Input{
		Source:      e.from.Source,
		Destination: opa.Receiver{Namespace: d.Namespace, ServiceAccount: d.ServiceAccount, Labels: d.Labels, Port: e.called.Port},
		Request:     e.request,
		Time:        opa.Moment{Hour: at.Hour(), Weekday: int(at.Weekday())},
	}
	if e.gateway {
		in.Source = opa.Source{IP: e.from.IP}
	}
	return in
}

// levelName is how people call a level.
func levelName(l room.Level, gateway bool) string {
	switch l {
	case room.AtMesh:
		return "mesh"
	case room.AtNamespace:
		return "namespace"
	case room.AtServiceAccount:
		return "ServiceAccount"
	case room.AtPods:
		return "pods"
	case room.AtRoute:
		return "route"
	case room.AtRule:
		return "rule"
	}
	names := map[room.Level]string{room.AtService: "Service", room.AtPort: "port"}
	if gateway {
		names = map[room.Level]string{room.AtService: "Gateway", room.AtPort: "listener"}
	}
	return names[l]
}
