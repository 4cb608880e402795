package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/authz/als"
	"github.com/weft-mesh/weft/internal/authz/check"
	"github.com/weft-mesh/weft/internal/authz/journal"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/xds/tokenreview"
)

// Authz is what weft authz runs. It hears from proxies what they decide, and remembers it beside what policies said
// then.
//
//	proxies → als → window, tally, journal         policies → shelf
//	    │             └───────┴──── query ────────────────────┘ → weft why ID, weft authz shadow
//	    └──→ check: OPA answers what they do not decide
type Authz struct {
	Address     string // where proxies tell
	Check       string // where proxies ask
	Query       string // where people ask: a loopback address
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Records     int             // that are remembered at most
	Bytes       int             // that these take at most
	Journal     journal.Options // without a File nothing is written
}

// The limits of what is remembered beside decisions.
const (
	shelfBytes = 32 << 20
	tallyRows  = 10_000
)

// rememberer is an Authz that runs.
type rememberer struct {
	Authz
	cache   cache.Cache
	server  *als.Server
	checks  *check.Server
	window  *authz.Window
	tally   *authz.Tally
	shelf   *authz.Shelf
	journal *journal.Journal // nil: nothing is written
	claims  atomic.Pointer[[]string]
	open    atomic.Bool
}

// AuthzCache are the kinds that Authz reads, and of them no more than it needs.
func AuthzCache() cache.Options {
	return cache.Options{NewInformer: newInformer, DefaultTransform: trimMeta}
}

// Setup adds it to mgr.
func (a Authz) Setup(mgr ctrl.Manager) error {
	reviews, err := authentication.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("make a client of token reviews: %w", err)
	}
	r := &rememberer{
		Authz: a, cache: mgr.GetCache(),
		window: authz.NewWindow(a.Records, a.Bytes), tally: authz.NewTally(tallyRows), shelf: authz.NewShelf(shelfBytes),
	}
	if a.Journal.File != "" {
		a.Journal.Text = r.shelf.Get
		if r.journal, err = journal.Open(a.Journal); err != nil {
			return err
		}
	}
	whose := tokenreview.Authenticator{Reviews: reviews.TokenReviews()}
	r.server = als.NewServer(als.Options{Certificate: a.Certificate, Authenticator: whose, Take: r.take, Claims: r.claimsNow})
	r.checks = check.NewServer(check.Options{Certificate: a.Certificate, Authenticator: whose})
	for _, c := range slices.Concat(als.Collectors(), check.Collectors(), r.collectors()) {
		if err := metrics.Registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("count decisions: %w", err)
		}
	}
	if err := mgr.AddReadyzCheck("hearing", r.ready); err != nil {
		return fmt.Errorf("serve health: %w", err)
	}
	return mgr.Add(r)
}

// take remembers a decision. It never waits.
func (r *rememberer) take(d authz.Record, size int) {
	r.window.Add(d, size)
	r.tally.Add(d)
	if r.journal != nil {
		r.journal.Take(d)
	}
}

func (r *rememberer) claimsNow() []string {
	if now := r.claims.Load(); now != nil {
		return *now
	}
	return nil
}

func (r *rememberer) ready(*http.Request) error {
	if !r.open.Load() {
		return errors.New("policies are being listed")
	}
	return nil
}

// collectors count what is remembered, and what is not.
func (r *rememberer) collectors() []prometheus.Collector {
	gauge := func(name, help string, of func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, of)
	}
	counter := func(name, help string, of func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, of)
	}
	all := []prometheus.Collector{
		gauge("weft_authz_window_records", "Decisions that are remembered.", func() float64 { return float64(r.window.Level().Records) }),
		gauge("weft_authz_window_bytes", "What they take.", func() float64 { return float64(r.window.Level().Bytes) }),
		counter("weft_authz_window_dropped_total", "Decisions that are remembered no more, as newer ones needed the room.", func() float64 { return float64(r.window.Level().Dropped) }),
	}
	if r.journal == nil {
		return all
	}
	return append(all,
		counter("weft_authz_log_lines_total", "Lines of the decision log.", func() float64 { return float64(r.journal.Written()) }),
		counter("weft_authz_log_dropped_total", "Decisions that are not in the decision log, as too many waited to be written.", func() float64 { return float64(r.journal.Dropped()) }))
}

// NeedLeaderElection is false: there is nothing that one alone does.
func (r *rememberer) NeedLeaderElection() bool { return false }

// Start runs until ctx ends.
func (r *rememberer) Start(ctx context.Context) error {
	if err := r.read(ctx); err != nil {
		return err
	}
	doors, err := listen(r.Address, r.Check, r.Query)
	if err != nil {
		return err
	}
	since := time.Now().UTC()
	answers := query.Server(query.Memory{Window: r.window, Tally: r.tally, Shelf: r.shelf, Since: since})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, r.server.Stop)()
	defer context.AfterFunc(ctx, r.checks.Stop)()
	defer context.AfterFunc(ctx, func() { _ = answers.Close() })() // it ends anyway
	r.open.Store(true)
	ended := make(chan error, 4)
	go func() { ended <- r.server.Serve(doors[0]) }()
	go func() { ended <- r.checks.Serve(doors[1]) }()
	go func() { ended <- unlessClosed(answers.Serve(doors[2])) }()
	go func() { ended <- r.write(ctx) }()
	first := <-ended
	cancel()
	return errors.Join(first, <-ended, <-ended, <-ended)
}

// listen opens all of some addresses, or none.
func listen(addresses ...string) (out []net.Listener, err error) {
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			for _, o := range out {
				err = errors.Join(err, o.Close())
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
		out = append(out, l)
	}
	return out, nil
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (r *rememberer) write(ctx context.Context) error {
	if r.journal == nil {
		<-ctx.Done()
		return nil
	}
	return r.journal.Run(ctx)
}

// read begins to follow policies and the Mesh, and returns when all are read that there were.
func (r *rememberer) read(ctx context.Context) error {
	for kind, take := range map[client.Object]func(any, bool){&v1alpha1.MeshPolicy{}: r.policy, &v1alpha1.Mesh{}: r.mesh} {
		informer, err := r.cache.GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { take(obj, true) },
			UpdateFunc: func(_, obj any) { take(obj, true) },
			DeleteFunc: func(obj any) { take(obj, false) },
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), handle.HasSynced) {
			return ctx.Err()
		}
	}
	return nil
}

func (r *rememberer) policy(obj any, there bool) {
	if gone, is := obj.(toolscache.DeletedFinalStateUnknown); is {
		obj = gone.Obj
	}
	p, is := obj.(*v1alpha1.MeshPolicy)
	if !is {
		return
	}
	says := p.Spec.Authorization
	if !there {
		says = nil
	}
	r.shelf.Set(p.Namespace+"/"+p.Name, says)
}

func (r *rememberer) mesh(obj any, there bool) {
	m, is := obj.(*v1alpha1.Mesh)
	if !is || m.Name != v1alpha1.MeshName {
		return
	}
	var claims []string
	if there {
		claims = m.Spec.DecisionLog.Claims
	}
	r.claims.Store(&claims)
}
