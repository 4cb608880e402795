// Package query tells people what weft authz remembers, by HTTP and JSON.
//
//	weft why ID, weft authz shadow → a port that is forwarded to the loopback address of the pod → Handler
//
// It listens on no other address: who may ask is who may forward ports of that pod, which the API server knows.
package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
)

// The paths.
const (
	Decisions = "/v1/decisions" // ?id=
	Shadows   = "/v1/shadow"    // ?policy=
)

// Found is what is remembered of a request.
type Found struct {
	Records []authz.Record `json:"records"`
	// Policies are what digests in their laws stand for. One that is not there is not known any more.
	Policies map[string]*v1alpha1.Authorization `json:"policies"`
	Window   authz.WindowLevel                  `json:"window"`
	Since    time.Time                          `json:"since"` // when it began to remember
}

// Tried is what a policy in Shadow would have denied.
type Tried struct {
	Policy string          `json:"policy"`
	Calls  []authz.Counted `json:"calls"`
	// Others are requests that are in none of the calls, for want of room.
	Others   uint64    `json:"others,omitempty"`
	Policies []string  `json:"policies"` // of which something is counted
	Since    time.Time `json:"since"`
}

// Memory is what is asked.
type Memory struct {
	Window *authz.Window
	Tally  *authz.Tally
	Shelf  *authz.Shelf
	Since  time.Time
}

// Handler answers.
func (m Memory) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Decisions, m.decisions)
	mux.HandleFunc("GET "+Shadows, m.shadows)
	return http.MaxBytesHandler(mux, 1<<10)
}

func (m Memory) decisions(w http.ResponseWriter, r *http.Request) {
	out := Found{Records: m.Window.Find(r.URL.Query().Get("id")), Policies: map[string]*v1alpha1.Authorization{}, Window: m.Window.Level(), Since: m.Since}
	for _, record := range out.Records {
		for digest, says := range m.Shelf.All(record.Law.Digests()) {
			out.Policies[digest] = says
		}
	}
	answer(w, out)
}

func (m Memory) shadows(w http.ResponseWriter, r *http.Request) {
	out := Tried{Policy: r.URL.Query().Get("policy"), Policies: m.Tally.Policies(), Since: m.Since}
	out.Calls, out.Others = m.Tally.Of(out.Policy)
	answer(w, out)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}

// Server is one of the Handler, on a loopback address.
func Server(m Memory) *http.Server {
	return &http.Server{
		Handler: m.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// Client asks a Handler.
type Client struct {
	URL  string // before the paths
	HTTP *http.Client
}

// Find asks for what is remembered of a request.
func (c Client) Find(ctx context.Context, id string) (out Found, err error) {
	err = c.get(ctx, Decisions, url.Values{"id": {id}}, &out)
	return out, err
}

// Shadow asks for what a policy in Shadow would have denied.
func (c Client) Shadow(ctx context.Context, policy string) (out Tried, err error) {
	err = c.get(ctx, Shadows, url.Values{"policy": {policy}}, &out)
	return out, err
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 20

func (c Client) get(ctx context.Context, path string, asked url.Values, to any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+path+"?"+asked.Encode(), http.NoBody)
	if err != nil {
		return fmt.Errorf("ask weft authz: %w", err)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("ask weft authz: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask weft authz: it answers %s: is it of another release?", response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(to); err != nil {
		return errors.Join(errors.New("ask weft authz: its answer cannot be read"), err)
	}
	return nil
}
