package trafficmetrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/weft-mesh/weft/internal/smi/metrics"
)

// reasons are what kubectl shows for a status.
var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:          metav1.StatusReasonBadRequest,
	http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusNotFound:            metav1.StatusReasonNotFound,
	http.StatusMethodNotAllowed:    metav1.StatusReasonMethodNotAllowed,
	http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
}

var none = metrics.Problem{}

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	answer, problem := s.answer(ctx, r)
	if problem != none {
		if problem.Code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		write(w, problem.Code, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(problem.Code), Reason: reasons[problem.Code], Message: problem.Message,
		})
		return
	}
	write(w, http.StatusOK, answer)
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}

// answer asks first who asks, then what is asked, then whether they may, and only then Prometheus.
func (s *Server) answer(ctx context.Context, r *http.Request) (any, metrics.Problem) {
	who, known, err := s.front.AuthenticateRequest(r)
	if err != nil || !known {
		return nil, metrics.Problem{Code: http.StatusUnauthorized, Message: "only the API server is answered here: ask it for /apis/" + metrics.Group}
	}
	if r.Method != http.MethodGet {
		return nil, metrics.Problem{Code: http.StatusMethodNotAllowed, Message: r.Method + ": TrafficMetrics can only be read"}
	}
	if about, is := description(r.URL.Path); is {
		return about, s.may(ctx, authorizer.AttributesRecord{User: who.User, Verb: "get", Path: r.URL.Path})
	}
	path, ours := strings.CutPrefix(r.URL.Path, "/apis/"+metrics.Group+"/")
	version, _, _ := strings.Cut(path, "/")
	if !ours || !slices.Contains(metrics.Versions, version) {
		return nil, metrics.Problem{Code: http.StatusNotFound, Message: fmt.Sprintf("there is no %s here", r.URL.Path)}
	}
	request, problem := metrics.Parse(path, r.URL.Query())
	if problem != none {
		return nil, problem
	}
	if problem := s.may(ctx, attributes(who.User, request)); problem != none {
		return nil, problem
	}
	return s.measure(ctx, request)
}

// description is what the API server asks to know what is served; none of it depends on Prometheus, as
// the deletion of namespaces needs it.
func description(path string) (any, bool) {
	group := "/apis/" + metrics.Group
	switch path = strings.TrimSuffix(path, "/"); path {
	case "/apis":
		return metrics.Groups(), true
	case group:
		return metrics.Description(), true
	}
	version, ours := strings.CutPrefix(path, group+"/")
	if !ours || !slices.Contains(metrics.Versions, version) {
		return nil, false
	}
	return metrics.Resources(version), true
}

// attributes are what is asked for, by the names that RBAC knows.
func attributes(who user.Info, r metrics.Request) authorizer.AttributesRecord {
	a := authorizer.AttributesRecord{
		User: who, Verb: "list", Namespace: r.Namespace, ResourceRequest: true,
		APIGroup: metrics.Group, APIVersion: r.Version, Resource: r.Kind.Name, Name: r.Name,
	}
	if r.Name != "" {
		a.Verb = "get"
	}
	if !r.Kind.Namespaced {
		a.Namespace = r.Name // as the API server has it
	}
	if r.Edges {
		a.Subresource = "edges"
	}
	return a
}

func (s *Server) may(ctx context.Context, a authorizer.AttributesRecord) metrics.Problem {
	decision, _, err := s.authorizer.Authorize(ctx, a)
	switch {
	case decision == authorizer.DecisionAllow:
		return none
	case err != nil:
		s.Log.Error(err, "Not asked whether a user may read TrafficMetrics")
		return metrics.Problem{Code: http.StatusInternalServerError, Message: "the API server does not say whether you may: try again"}
	case !a.ResourceRequest:
		return metrics.Problem{Code: http.StatusForbidden, Message: fmt.Sprintf("User %q cannot get path %q", a.User.GetName(), a.Path)}
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	return metrics.Problem{Code: http.StatusForbidden, Message: fmt.Sprintf("User %q cannot %s resource %q in API group %q in the namespace %q", a.User.GetName(), a.Verb, resource, a.APIGroup, a.Namespace)}
}

// measure asks Prometheus, all for one moment, once it is its turn: all that costs more than to be refused
// is bounded by that.
func (s *Server) measure(ctx context.Context, r metrics.Request) (any, metrics.Problem) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, metrics.Problem{Code: http.StatusTooManyRequests, Message: fmt.Sprintf("%d requests wait for Prometheus already: ask again, less often", atOnce)}
	}
	source, err := s.Source(ctx)
	if err != nil {
		return nil, metrics.Problem{Code: http.StatusServiceUnavailable, Message: err.Error()}
	}
	at := time.Now()
	answers, err := s.prometheus.ask(ctx, source, at, r.Queries())
	if err != nil {
		return nil, s.unanswered(source, err)
	}
	world, err := s.world(ctx, r)
	if err != nil {
		s.Log.Error(err, "The cluster's objects not listed")
		return nil, metrics.Problem{Code: http.StatusInternalServerError, Message: "the cluster's objects cannot be listed: try again"}
	}
	return r.Answer(at, answers, world)
}

// world is what the Request needs of it.
func (s *Server) world(ctx context.Context, r metrics.Request) (w metrics.World, err error) {
	if r.Edges && r.Kind.Namespaced {
		var pods []*corev1.Pod
		pods, err = s.Pods(ctx)
		w.Workloads = metrics.WorkloadsOf(pods)
	}
	if r.Kind.Kind == "TrafficSplit" {
		w.Splits, err = s.Splits(ctx, r.Namespace)
	}
	return w, err
}

func (s *Server) unanswered(source Source, err error) metrics.Problem {
	if errors.Is(err, errNothing) {
		return metrics.Problem{Code: http.StatusServiceUnavailable, Message: fmt.Sprintf("the Prometheus at %s scrapes no proxy of Weft: have it scrape them with config/prometheus/scrape.yaml, or proxies.yaml, of this release, and see /targets there", source.URL)}
	}
	return metrics.Problem{Code: http.StatusServiceUnavailable, Message: fmt.Sprintf(
		"no answer of the Prometheus that spec.metrics.prometheus.url of Mesh default names, %s: %s. See that it runs, that Weft's operator may connect to it, and that the URL is right", source.URL, err)}
}

// quiet logs what clients do wrong where it is asked for.
func quiet(to logr.Logger) *log.Logger { return log.New(lines{to}, "", 0) }

type lines struct{ to logr.Logger }

func (l lines) Write(line []byte) (int, error) {
	l.to.V(1).Info("Connection of TrafficMetrics failed", "why", strings.TrimSpace(string(line)))
	return len(line), nil
}
