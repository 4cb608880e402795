package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

const (
	probeInterval = 100 * time.Millisecond
	probeTimeout  = 3 * time.Minute
)

var errEnded = errors.New("ended")

// wait probes until the probe succeeds. It fails early when the process ends.
func (n Node) wait(ctx context.Context, name string, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		if _, running, findErr := n.Processes.Find(name); findErr != nil || !running {
			return fmt.Errorf("%s %w: %w\n%s", name, errEnded, err, n.Processes.LastLines(name))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", name, err, n.Processes.LastLines(name))
		case <-time.After(probeInterval):
		}
	}
}

// apiServerStarts is how often the API server is started before it is given up: one that cannot do in time what
// it does at its start, on a busy machine, ends, and counts on a kubelet that starts it again.
const apiServerStarts = 5

// startAPIServer starts the API server, unless it runs, and waits until it is ready.
func (n Node) startAPIServer(ctx context.Context) (err error) {
	for range apiServerStarts {
		if err = n.Processes.Start(n.apiServer()); err != nil {
			return err
		}
		if err = n.Healthy(ctx); !errors.Is(err, errEnded) {
			return err
		}
	}
	return err
}

// Healthy waits until the API server is ready.
func (n Node) Healthy(ctx context.Context) error {
	ca, err := os.ReadFile(n.pki("ca.crt"))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	defer client.CloseIdleConnections()
	return n.wait(ctx, "kube-apiserver", probeHTTP(client, "https://"+layout.NodeIPv4+":"+layout.APIServerPort+"/readyz"))
}

// probeHTTP succeeds when the server answers 200.
func probeHTTP(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
			return fmt.Errorf("%s: %s: %s", url, response.Status, body)
		}
		return nil
	}
}

// kubeletPort is where the kubelet is asked to run something in a pod.
const kubeletPort = "10250"

// probeTCP succeeds when somebody listens there.
func probeTCP(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
