package stories

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

const packingFront = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: polite}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.test]
  rules:
  - name: raw
    matches: [{path: {value: /raw}}]
    backendRefs: [{name: polite, port: 80}]
  - backendRefs: [{name: polite, port: 80}]
`

const packedFront = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: packed}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  compression: %s
`

const rawRule = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: raw}
spec:
  targetRefs: [{kind: HTTPRoute, name: polite, sectionName: raw}]
  compression: {disabled: true}
`

// TestCompression: while a Gateway is sent 300 requests per second, of which none may fail, its answers come to
// be compressed, by one algorithm and another, for those who accept that, but for a rule where it is switched off.
func TestCompression(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "packing")
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	backend(t, s, "polite", "drain", "ledger", 2)
	s.Apply(packingFront)
	s.Rollout("polite")
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api/goods", 200)
	const rate = 300
	running := load.Start(load.Target{Address: gateway.At(80), Host: "shop.test"}, rate)
	step := func(name string) {
		s.Step("%s", name)
		running.Step(name)
	}
	hold := func() {
		sent := running.Sent()
		s.Until(time.Minute, "requests pass", func(context.Context) error {
			if more := running.Sent() - sent; more < 2*rate {
				return fmt.Errorf("%d have passed", more)
			}
			return nil
		})
	}
	plain := sizeOf(t, gateway, "/", "gzip", "")
	hold()
	for says, want := range map[string]string{`{minContentLength: 1}`: "br", `{minContentLength: 1, algorithms: [Gzip]}`: "gzip", `{minContentLength: 1, algorithms: [Zstd, Gzip]}`: "zstd"} {
		step("compression: " + says)
		s.Apply(fmt.Sprintf(packedFront, says))
		s.Holds("packed")
		s.Until(time.Minute, "answers are of "+want, func(ctx context.Context) error {
			return encoded(ctx, gateway, "/", "gzip, br, zstd", want)
		})
		hold()
	}
	if size := sizeOf(t, gateway, "/", "gzip", "gzip"); size >= plain {
		t.Errorf("a page of %d bytes is %d compressed", plain, size)
	}
	sizeOf(t, gateway, "/", "identity", "")
	step("switched off for a rule")
	s.Apply(rawRule)
	s.Holds("raw")
	s.Until(time.Minute, "the rule's answers are not compressed", func(ctx context.Context) error {
		return encoded(ctx, gateway, "/raw", "gzip", "")
	})
	sizeOf(t, gateway, "/", "gzip", "gzip")
	hold()
	step("no more")
	s.Remove(rawRule)
	s.Remove(fmt.Sprintf(packedFront, "{}"))
	s.Until(time.Minute, "answers are not compressed", func(ctx context.Context) error {
		return encoded(ctx, gateway, "/", "gzip", "")
	})
	hold()
	noneFailed(t, running.Stop())
}

// encoded wants answers of an encoding; they come as they are.
func encoded(ctx context.Context, g *stage.Gateway, path, accept, want string) error {
	_, err := packedSize(ctx, g, path, accept, want)
	return err
}

func sizeOf(t *testing.T, g *stage.Gateway, path, accept, want string) int64 {
	t.Helper()
	size, err := packedSize(t.Context(), g, path, accept, want)
	if err != nil {
		t.Error(err)
	}
	return size
}

func packedSize(ctx context.Context, g *stage.Gateway, path, accept, want string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop.test"+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept-Encoding", accept) // so that Go undoes nothing
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", g.At(80))
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	size, err := io.Copy(io.Discard, response.Body)
	if got := response.Header.Get("Content-Encoding"); err == nil && (got != want || response.StatusCode != http.StatusOK) {
		err = fmt.Errorf("%s: status %d, encoding %q, not %q", path, response.StatusCode, got, want)
	}
	return size, err
}
