package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/core"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
	"github.com/weft-mesh/weft/internal/xds/tokenreview"
	"github.com/weft-mesh/weft/webhooks"
)

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list;watch

// Server feeds the core and serves proxies, in every replica.
//
// It lists everything, commits once, and only then opens the xDS port: no proxy is ever told of a
// world half read. Kinds that the API server does not serve yet are fed when they appear.
type Server struct {
	mgr      ctrl.Manager
	address  string
	revision string
	log      logr.Logger

	core         *core.Core
	xds          *xds.Server
	quotas       quotas
	facts        *xds.Facts
	feeds        *feeds
	availability Availability
	appeared     map[string]bool // names of the Parts whose controllers are set up
	identities   *Identities
	trust        *Trust
	ports        *SetPorts

	served  atomic.Pointer[Served]
	changed chan event.GenericEvent // Served, or Facts, or the Status of trust, changed
	moved   chan event.GenericEvent // Facts, or identities, changed
	open    atomic.Bool
}

// settleRetry is how long a CRD may take from being created to being served before it is asked
// for again; it doubles up to the longest.
const (
	settleRetry    = 200 * time.Millisecond
	settleLongest  = 30 * time.Second
	stopStreamsFor = 5 * time.Second
)

// mostTouched is how many resources a log line of a commit names.
const mostTouched = 50

func newServer(mgr ctrl.Manager, at Ports, revision string) (*Server, error) {
	reviews, err := authentication.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make a client of token reviews: %w", err)
	}
	kindsServed, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make a client of discovery: %w", err)
	}
	store := xds.NewStore(mesh.BasesOf)
	s := &Server{
		mgr: mgr, address: at.XDS, revision: revision, log: mgr.GetLogger().WithName("serve"),
		facts:    xds.NewFacts(),
		appeared: map[string]bool{}, changed: make(chan event.GenericEvent, 1), moved: make(chan event.GenericEvent, 1),
	}
	s.core = core.New(store, s.facts)
	s.core.OnCommit = func(c core.Commit) {
		if c.Inputs+c.Resources == 0 {
			return
		}
		if log := s.log.V(1); log.Enabled() {
			log.Info("Commit", "revision", c.Revision, "inputs", c.Inputs, "resources", c.Resources, "touched", c.Touched(mostTouched), "duration", c.Duration)
		}
	}
	s.core.OnFacts = func() { s.notify(); s.move() }
	s.identities = &Identities{Client: mgr.GetClient(), Cache: mgr.GetCache(), Outbox: s.core.Identities, Known: s.core.KnownIdentities, Changed: s.move}
	s.trust = &Trust{
		Client: mgr.GetClient(), Told: s.core.TrustTold, Proxies: s.core.Proxies, Identities: s.core.KnownIdentities, Changed: s.notify,
	}
	s.xds = xds.NewServer(xds.Options{
		Store: store, Facts: s.facts, Log: s.log,
		Certificate:   (&KeyPair{Secrets: mgr.GetClient(), Name: systemName(webhooks.Revised(XDSSecret, revision))}).GetCertificate,
		Authenticator: tokenreview.Authenticator{Reviews: reviews.TokenReviews()},
		ScopeOf:       s.core.ScopeOf,
		OnDemand:      s.demand,
		Linger:        mesh.Linger,
	})
	s.core.OnRescope = s.xds.Rescope
	if revision != "" {
		at.Quota = "" // one operator counts, for the proxies of all
	}
	if s.quotas, err = newQuotas(mgr, at.Quota, s.core, reviews); err != nil {
		return nil, err
	}
	s.ports = &SetPorts{Of: s.core.SetPorts}
	s.core.OnPorts = s.ports.Changed
	s.feeds, err = newFeeds(mgr.GetCache(), mgr.GetScheme(), kinds(s.core.Inbox(), s.core.Tables()))
	if err != nil {
		return nil, err
	}
	versions := append(s.feeds.versions(), GatewayAPI.Version, CertManager.Version)
	s.availability = Availability{Discovery: kindsServed, Client: mgr.GetClient(), Versions: versions}
	s.served.Store(&Served{})
	return s, nil
}

// demand has the core look up an address that a sidecar asked for, as long as one does.
func (s *Server) demand(name string, wanted bool) {
	address, is := strings.CutPrefix(name, mesh.DirectPrefix)
	if _, err := netip.ParseAddrPort(address); !is || err != nil {
		return
	}
	if demands := s.core.Tables().Demands; wanted {
		cluster.Put(s.core.Inbox(), demands, address, struct{}{})
	} else {
		cluster.Delete(s.core.Inbox(), demands, address)
	}
}

func systemName(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: name}
}

// NeedLeaderElection is false: every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// Start runs until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	crds, err := s.watchCRDs(ctx)
	if err != nil {
		return err
	}
	served, settled, err := s.availability.Look(ctx)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, served); err != nil {
		return err
	}
	if !s.feeds.wait(ctx, conversionPatience) {
		return nil
	}
	s.core.Commit()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("serve xDS: %w", err)
	}
	count, err := s.quotas.listen()
	if err != nil {
		return err
	}
	s.open.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 4)
	go func() { ended <- count(ctx) }()
	go func() { ended <- s.core.Run(ctx) }()
	go func() { ended <- s.xds.Serve(listener) }()
	go func() { ended <- s.follow(ctx, crds, settled) }()
	first := <-ended
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopStreamsFor)
	defer done()
	s.xds.Stop(stop)
	return errors.Join(first, <-ended, <-ended, <-ended)
}

// ready is the readiness check.
func (s *Server) ready(*http.Request) error {
	if !s.open.Load() {
		return errors.New("the cluster's objects are being listed")
	}
	return nil
}

// watchCRDs tells of every CRD that comes, changes or goes.
func (s *Server) watchCRDs(ctx context.Context) (<-chan struct{}, error) {
	crds := &metav1.PartialObjectMetadata{}
	crds.SetGroupVersionKind(crdKind)
	informer, err := s.mgr.GetCache().GetInformer(ctx, crds)
	if err != nil {
		return nil, fmt.Errorf("watch CRDs: %w", err)
	}
	changed := make(chan struct{}, 1)
	tell := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: tell, UpdateFunc: func(_, crd any) { tell(crd) }, DeleteFunc: tell,
	})
	if err != nil {
		return nil, fmt.Errorf("watch CRDs: %w", err)
	}
	return changed, nil
}

// follow looks again whenever a CRD changes, and from time to time while one is not served.
func (s *Server) follow(ctx context.Context, crds <-chan struct{}, settled bool) error {
	retry := settleRetry
	for {
		var again <-chan time.Time
		if !settled {
			again = time.After(retry)
			retry = min(2*retry, settleLongest)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-crds:
			retry = settleRetry
		case <-again:
		}
		served, all, err := s.availability.Look(ctx)
		if err != nil {
			s.log.Error(err, "Kinds not looked up")
			settled = false
			continue
		}
		settled = all
		if err := s.begin(ctx, served); err != nil {
			return err
		}
	}
}

// begin starts the feeds and controllers of what is served and was not before.
func (s *Server) begin(ctx context.Context, served Served) error {
	for group, bundle := range served.bundles {
		cluster.Put(s.core.Inbox(), s.core.Tables().Bundles, group, bundle)
	}
	if err := s.feeds.start(ctx, served); err != nil {
		return err
	}
	before := s.served.Swap(&served)
	if s.revision == "" && served.Find(GatewayAPI).OK() && !before.Find(GatewayAPI).OK() {
		if err := s.mgr.Add(Class{s.mgr.GetClient()}); err != nil {
			return fmt.Errorf("make the GatewayClass: %w", err)
		}
	}
	for _, part := range []Part{GatewayAPI, CertManager} {
		if !served.Find(part).OK() || s.appeared[part.Name] {
			continue
		}
		s.log.Info("Available", "part", part.Name, "version", served.bundles[part.Version.Group].Version)
		s.appeared[part.Name] = true
		if err := s.setup(ctx, part); err != nil {
			return fmt.Errorf("set up what needs %s: %w", part.Name, err)
		}
	}
	s.notify()
	return nil
}

func (s *Server) notify() { tell(s.changed) }

func (s *Server) move() { tell(s.moved) }

// tell never blocks: a notice that was not taken yet stands for this one too.
func tell(of chan<- event.GenericEvent) {
	select {
	case of <- event.GenericEvent{Object: &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}}:
	default:
	}
}

// setup starts what needs a Part. Of that, an operator with a revision runs only what it serves by: what
// all operators share is the other's to write.
func (s *Server) setup(ctx context.Context, part Part) error {
	switch {
	case part.Name == CertManager.Name:
		signer := &Signer{Client: s.mgr.GetClient(), Cache: s.mgr.GetCache(), Core: s.core}
		err := errors.Join(s.mgr.Add(signer), SetupAuthority(s.mgr, s.revision))
		if err != nil || s.revision != "" {
			return err
		}
		return s.setupCertificates(ctx)
	case part.Name == GatewayAPI.Name && s.revision == "":
		return SetupProxies(s.mgr, s.ports)
	}
	return nil
}

// setupCertificates starts, in the leader, what has cert-manager make certificates for others.
func (s *Server) setupCertificates(ctx context.Context) error {
	listeners := &Certificates{
		Client: s.mgr.GetClient(), Cache: s.mgr.GetCache(), Live: s.mgr.GetAPIReader(),
		Outbox: s.core.Certificates, Events: s.mgr.GetEventRecorder("weft-certificates"),
	}
	return errors.Join(
		s.mgr.Add(listeners),
		s.mgr.Add(s.identities),
		s.trust.setup(s.mgr, s.moved),
		follow(ctx, s.mgr.GetCache(), &cmv1.Certificate{}, func(obj any) {
			if cert, ok := obj.(*cmv1.Certificate); ok && cert.Namespace == v1alpha1.SystemNamespace {
				s.notify()
			}
		}))
}
