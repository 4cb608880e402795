package stories

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestWithoutWeft is the control of TestNoErrorsOnChange: the same load on the same backends behind a
// plain Service. A backend that drains loses nothing here either; one that exits at once does, and
// the load sees it. So a story without failures says something about the Gateway.
func TestWithoutWeft(t *testing.T) {
	bare, err := stage.Open(t.Context())
	if err == nil {
		err = bare.LoadShop(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s := bare.Scene(t, "control")
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	backend(t, s, "polite", "drain", "ledger", 2)
	backend(t, s, "abrupt", "exit", "ledger", 2)
	s.Rollout("polite", "abrupt")
	if lost := rollBehindService(t, s, "polite"); lost != 0 {
		t.Errorf("%d requests were lost when the backend that drains was rolled", lost)
	}
	if lost := rollBehindService(t, s, "abrupt"); lost == 0 {
		t.Error("the load saw no failure when the backend that exits was rolled: it cannot be trusted")
	}
}

// rollBehindService rolls a backend under load and returns how many requests failed, in whatever way.
func rollBehindService(t *testing.T, s *stage.Scene, name string) int {
	t.Helper()
	s.Apply(fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %[1]s-outside},
		spec: {type: LoadBalancer, selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}}`, name))
	address := loadBalancer(t, s, name+"-outside")
	s.Until(time.Minute, "Service "+name+"-outside answers", func(context.Context) error { return answers(address + ":80") })
	l := load.Start(load.Target{Address: address + ":80", Host: "shop.test"}, 300)
	if err := s.Roll(t.Context(), s.Namespace, name, rollout); err != nil {
		t.Error(err)
	}
	results := l.Stop()
	book := readLedger(t, s)
	t.Logf("%s behind a plain Service\n%s", name, load.Print(load.Table(results, book.abandoned)))
	book.check(t, results)
	lost := 0
	for _, r := range results {
		if r.Failed != "" {
			lost++
		}
	}
	for _, r := range load.Failures(results, book.abandoned)[:min(5, len(load.Failures(results, book.abandoned)))] {
		t.Logf("%s %s: %s", r.Method, r.ID, r.Failed)
	}
	return lost
}

// answers tries a connection.
func answers(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		err = conn.Close()
	}
	return err
}

func loadBalancer(t *testing.T, s *stage.Scene, name string) (address string) {
	t.Helper()
	s.Until(time.Minute, "Service "+name+" has an address", func(ctx context.Context) error {
		var service corev1.Service
		if err := s.Get(ctx, s.Key(name), &service); err != nil {
			return err
		}
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("status.loadBalancer is empty")
		}
		address = service.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	return address
}
