// Package core runs the computation: it takes what changed, commits it as one consistent world and
// publishes what differs.
//
//	Inbox → commit → mesh → envoy → xds.Store
//	          │        └──→ Statuses, Certificates
//	Facts ────┘  (what proxies acknowledged or refused)
//
// One goroutine, that of Run, owns the graph.
package core

import (
	"context"
	"slices"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

// Core is the running computation.
type Core struct {
	// Statuses are the statuses wanted, Certificates the cert-manager Certificates wanted of each
	// Gateway.
	Statuses     *cluster.Outbox[mesh.Status]
	Certificates *cluster.Outbox[Certificates]
	// Identities are what is wanted and known of each ServiceAccount that is to have an identity, once
	// the proxies are told of it; of one that no longer is, only its Account. Signed are the same, for
	// who signs.
	Identities *cluster.Outbox[mesh.Identity]
	Signed     *cluster.Outbox[mesh.Identity]
	// Fetches are what policies want fetched.
	Fetches *cluster.Outbox[Fetch]
	// Quota is what all proxies together are let through with.
	Quota *quota.Table
	// OnCommit, if set before Run, is told of every commit.
	OnCommit func(Commit)
	// OnFacts, if set before Run, is called after proxies came, went or answered.
	OnFacts func()
	// OnRescope, if set before Run, is told, by their UIDs, of pods whose scope became another one.
	OnRescope func(pods map[string]struct{})
	// OnPorts, if set before Run, is told of each Gateway whose SetPorts became others.
	OnPorts func(gateway string)

	tables     *cluster.Tables
	mesh       *mesh.Mesh
	inbox      *cluster.Inbox
	facts      *xds.Facts
	store      *xds.Store
	publish    func(xds.Change)
	answered   bool       // proxies stated new facts
	change     xds.Change // what the commit under way does
	quarantine *quarantine
	identities identities
	policies   policies
	moments    moments

	afterwards []func()            // to be done when the commit under way is published
	rescoped   map[string]struct{} // UIDs of pods
	mu         sync.RWMutex
	scopes     scopes
	ports      ports
}

// Certificates are those wanted for one Gateway.
type Certificates struct {
	Gateway string // its key
	Wanted  []mesh.Certificate
}

// Commit tells what one commit did.
type Commit struct {
	Revision  uint64
	Inputs    int // objects that changed
	Resources int // resources that differ
	Duration  time.Duration
	differ    map[xds.Resource]*discovery.Resource
}

// Touched are the resources that differ, at most so many of them, in the order of their types and names.
func (c Commit) Touched(most int) []string {
	var names []string
	for at := range c.differ {
		names = append(names, at.Name.String())
	}
	slices.Sort(names)
	names = slices.Compact(names) // variants have the same name
	return names[:min(most, len(names))]
}

// New makes a Core that publishes to store and learns from what proxies answered.
func New(store *xds.Store, facts *xds.Facts) *Core {
	t := cluster.NewTables()
	c := &Core{
		Statuses:     cluster.NewOutbox[mesh.Status](),
		Certificates: cluster.NewOutbox[Certificates](),
		Identities:   cluster.NewOutbox[mesh.Identity](),
		Signed:       cluster.NewOutbox[mesh.Identity](),
		Fetches:      cluster.NewOutbox[Fetch](),
		Quota:        quota.New(),
		tables:       t,
		mesh:         mesh.New(t),
		inbox:        cluster.NewInbox(),
		facts:        facts,
		store:        store,
		publish:      func(change xds.Change) { store.Commit(change) },
		scopes:       scopes{gateways: map[string]struct{}{}, pods: map[string]mesh.Proxy{}},
		ports:        ports{of: map[string][]gateway.Port{}},
	}
	c.quarantine = newQuarantine(c.hold, c.release)
	c.policies = newPolicies()
	c.moments = newMoments()
	c.clear()
	c.publishMoments()
	c.publishFetches()
	c.publishResources()
	c.publishStatuses()
	c.publishIdentities()
	c.publishPolicies()
	c.publishQuotas()
	return c
}

// Tables are the inputs, to be changed through the Inbox alone.
func (c *Core) Tables() *cluster.Tables { return c.tables }

// Inbox is where changes wait for the next commit.
func (c *Core) Inbox() *cluster.Inbox { return c.inbox }

// Run commits whatever waits, until ctx ends. There is no delay before the first change after
// quiet; what arrives during a commit is taken together by the next.
func (c *Core) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.inbox.Ready():
		case <-c.facts.Changed():
			c.answered = true
		case <-c.moments.next():
			if !c.moments.strike() {
				continue
			}
		}
		c.Commit()
	}
}

// Commit takes what waits and publishes what it makes differ. Run calls it; before Run it may be
// called once, with everything that was listed: nothing is served from a world half read.
func (c *Core) Commit() {
	start := time.Now()
	changes, answered := c.inbox.Take(), c.answered
	c.answered = false
	revision := c.tables.Graph.Commit(func() {
		for _, change := range changes {
			change()
		}
		if answered {
			c.learn()
		}
		if c.moments.struck {
			c.pass()
		}
	})
	differ := c.change.Resources
	c.policies.touch(c.change)
	if len(differ)+len(c.change.Scopes) > 0 {
		c.publish(c.change)
		c.clear()
	}
	if pods := c.settle(); len(pods) > 0 && c.OnRescope != nil {
		c.OnRescope(pods)
	}
	c.tellPorts()
	c.tellIdentities()
	c.count(answered)
	if answered && c.OnFacts != nil {
		c.OnFacts()
	}
	if c.OnCommit != nil {
		c.OnCommit(Commit{revision, len(changes), len(differ), time.Since(start), differ})
	}
}

func (c *Core) clear() {
	c.change = xds.Change{
		Resources: map[xds.Resource]*discovery.Resource{},
		Scopes:    map[string]map[xds.Name]*xds.Variant{},
	}
}
