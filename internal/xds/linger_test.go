package xds

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// lingerTime is for how long clusters linger whose names begin with slow.
const lingerTime = 15 * time.Second

func lingerOf(cluster string) time.Duration {
	if strings.HasPrefix(cluster, "slow") {
		return lingerTime
	}
	return 0
}

// line is a stream without a network. A test plays Envoy at its end, in a bubble in which time passes only
// when it says so.
type line struct {
	t     *testing.T
	facts *Facts
	asked chan *discovery.DeltaDiscoveryRequest
	told  chan *response
	ended chan error
}

func (l *line) Send(r *response) error {
	l.told <- r
	return nil
}

func (l *line) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	if r, ok := <-l.asked; ok {
		return r, nil
	}
	return nil, io.EOF
}

func lineTo(t *testing.T, s *Store) *line {
	l := &line{t: t, facts: NewFacts(), asked: make(chan *discovery.DeltaDiscoveryRequest), told: make(chan *response, 100), ended: make(chan error, 1)}
	p := &proxy{store: s, read: s.attach("web"), maxNames: 100, linger: lingerOf, fact: l.facts.add(Proxy{Scope: "web"}, func(Refusal) {})}
	go func() { l.ended <- p.serve(t.Context(), l, nil) }()
	t.Cleanup(l.close)
	return l
}

func (l *line) close() {
	if l.asked != nil {
		close(l.asked)
		<-l.ended
		l.asked = nil
	}
}

// hears expects all that is told now, in short, and acknowledges it.
func (l *line) hears(want ...string) {
	l.t.Helper()
	var got []string
	for synctest.Wait(); len(l.told) > 0; synctest.Wait() {
		var whole discovery.DeltaDiscoveryResponse
		if err := proto.Unmarshal((<-l.told).frames().Materialize(), &whole); err != nil {
			l.t.Fatal(err)
		}
		got = append(got, text(&whole))
		l.asked <- &discovery.DeltaDiscoveryRequest{TypeUrl: whole.TypeUrl, ResponseNonce: whole.Nonce}
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("after %s it was told %q, want %q", time.Since(midnight), got, want)
	}
}

// midnight is when time begins in a bubble.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// boot subscribes to all clusters and listeners, having those that it says.
func (l *line) boot(clusters ...string) {
	has := map[string]string{}
	for _, c := range clusters {
		has[c] = "1"
	}
	l.asked <- &discovery.DeltaDiscoveryRequest{TypeUrl: ClusterType, InitialResourceVersions: has}
}

// lingering is a world with a listener that is to stop referring to two clusters, one of which lingers.
func lingering(t *testing.T) (*Store, *line) {
	s := NewStore(nil)
	commit(s, put(ClusterType, "a", "1"), put(ClusterType, "slow", "1"), put(ListenerType, "l", "1"), see("web", ClusterType, "a", "slow"), see("web", ListenerType, "l"))
	l := lineTo(t, s)
	l.boot()
	l.hears("Cluster +a@1 +slow@1")
	l.asked <- &discovery.DeltaDiscoveryRequest{TypeUrl: ListenerType}
	l.hears("Listener +l@1")
	return s, l
}

func (l *line) acknowledged(want uint64) {
	l.t.Helper()
	if got := l.facts.All()[0].Acknowledged; got != want {
		l.t.Errorf("after %s revision %d is acknowledged, want %d", time.Since(midnight), got, want)
	}
}

// A cluster goes as long as it lingers after what referred to it was acknowledged, and nobody waits for that;
// others go at once.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := lingering(t)
		rev := commit(s, drop(ClusterType, "a"), drop(ClusterType, "slow"), put(ListenerType, "l", "2"))
		synctest.Wait()
		time.Sleep(time.Minute) // the proxy takes its time to acknowledge
		l.acknowledged(rev - 1)
		l.hears("Listener +l@2", "Cluster -a")
		l.acknowledged(rev)
		time.Sleep(lingerTime - 1)
		l.hears()
		rev = commit(s, put(ListenerType, "l", "3")) // nothing to do with it
		l.hears("Listener +l@3")
		l.acknowledged(rev)
		time.Sleep(time.Nanosecond)
		l.hears("Cluster -slow")
		time.Sleep(time.Hour)
		l.hears()
	})
}

// Several go each in its time.
func TestLingerEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := lingering(t)
		commit(s, put(ClusterType, "slower", "1"), see("web", ClusterType, "slower"))
		l.hears("Cluster +slower@1")
		commit(s, drop(ClusterType, "slow"))
		l.hears()
		time.Sleep(5 * time.Second)
		commit(s, drop(ClusterType, "slower"))
		l.hears()
		time.Sleep(lingerTime - 5*time.Second)
		l.hears("Cluster -slow")
		time.Sleep(5*time.Second - 1)
		l.hears()
		time.Sleep(time.Nanosecond)
		l.hears("Cluster -slower")
	})
}

// One that is wanted again simply stays, and when it is not any more it lingers anew; one that comes back
// another is told so.
func TestLingerTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := lingering(t)
		commit(s, hide("web", ClusterType, "slow"))
		l.hears()
		time.Sleep(lingerTime - 1)
		commit(s, see("web", ClusterType, "slow"))
		l.hears()
		time.Sleep(time.Hour)
		l.hears()
		commit(s, hide("web", ClusterType, "slow"))
		l.hears()
		time.Sleep(lingerTime - 1)
		l.hears()
		time.Sleep(time.Nanosecond)
		l.hears("Cluster -slow")
		commit(s, see("web", ClusterType, "slow"))
		l.hears("Cluster +slow@1")
		commit(s, drop(ClusterType, "slow"))
		l.hears()
		commit(s, put(ClusterType, "slow", "2"))
		l.hears("Cluster +slow@2")
		time.Sleep(time.Hour)
		l.hears()
	})
}

// A proxy that comes with one that is gone loses it as long after that as if it had gone then.
func TestLingerReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := lingering(t)
		commit(s, drop(ClusterType, "slow"))
		l.hears()
		time.Sleep(lingerTime / 2)
		l.close()
		l = lineTo(t, s)
		l.boot("a", "slow")
		l.hears("Cluster")
		time.Sleep(lingerTime - 1)
		l.hears()
		time.Sleep(time.Nanosecond)
		l.hears("Cluster -slow")
	})
}
