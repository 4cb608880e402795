package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

const host = "shop.example.com"

// gateway waits for the Gateway's address and its first answer.
func (d *demo) gateway(ctx context.Context) error {
	err := stage.Until(ctx, 3*time.Minute, func(ctx context.Context) error {
		var gateway gwv1.Gateway
		if err := d.stage.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "web"}, &gateway); err != nil {
			return err
		}
		if len(gateway.Status.Addresses) == 0 {
			return errors.New("the Gateway shop/web has no address yet")
		}
		d.address = gateway.Status.Addresses[0].Value
		if strings.Contains(d.address, ":") {
			d.address = "[" + d.address + "]"
		}
		_, err := d.get(ctx, "")
		return err
	})
	if err == nil {
		d.say("Gateway shop/web serves at http://%s", d.address)
	}
	return err
}

// get asks the shop and returns the version that answered.
func (d *demo) get(ctx context.Context, preview string) (version string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+"/api/goods", nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	if preview != "" {
		request.Header.Set("X-Preview", preview)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", errors.New("http://" + host + " answers " + response.Status)
	}
	var answer struct{ Version string }
	err = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Version, err
}

// requests shows the split by weight and the match by header.
func (d *demo) requests(ctx context.Context) error {
	if err := d.show(ctx, "the route says blue 90, green 10", ""); err != nil {
		return err
	}
	return d.show(ctx, "with the header X-Preview: green", "green")
}

// show sends 200 requests and draws who answered.
func (d *demo) show(ctx context.Context, what, preview string) error {
	const n = 200
	count := map[string]int{}
	for range n {
		version, err := d.get(ctx, preview)
		if err != nil {
			return err
		}
		count[version]++
	}
	d.say("%d requests, %s:", n, what)
	for _, version := range []string{"blue", "green"} {
		d.say("  %-6s %4d  %s", version, count[version], strings.Repeat("█", count[version]*40/n))
	}
	return nil
}

// change moves all requests from blue to green, step by step, under load.
func (d *demo) change(ctx context.Context) error {
	err := d.underLoad(ctx, func(step func(string, func() error) error) error {
		for _, green := range []int{50, 100} {
			if err := step(fmt.Sprintf("blue %d, green %d", 100-green, green), func() error { return d.weigh(ctx, green) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.show(ctx, "the route now says green 100", "")
}

// underLoad plays steps while people buy, each for at least 300 requests, and fails if one of them did.
func (d *demo) underLoad(ctx context.Context, play func(step func(name string, do func() error) error) error) error {
	d.say("100 requests per second, half of them orders, by a client that never retries")
	l := load.Start(load.Target{Address: d.address + ":80", Host: host}, 100)
	failed := play(func(name string, do func() error) error {
		l.Step(name)
		if err := do(); err != nil {
			return err
		}
		sent := l.Sent()
		return stage.Until(ctx, time.Minute, func(context.Context) error {
			if more := l.Sent() - sent; more < 300 {
				return fmt.Errorf("only %d requests were answered", more)
			}
			return nil
		})
	})
	results := l.Stop()
	if failed != nil {
		return failed
	}
	fmt.Print(load.Print(load.Table(results, nil)))
	if failures := load.Failures(results, nil); len(failures) > 0 {
		return fmt.Errorf("%d requests failed, the first of them with: %s", len(failures), failures[0].Failed)
	}
	return nil
}

func (d *demo) weigh(ctx context.Context, green int) error {
	route := &gwv1.HTTPRoute{}
	route.Namespace, route.Name = "shop", "shop"
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/1/backendRefs/0/weight","value":%d},
		{"op":"replace","path":"/spec/rules/1/backendRefs/1/weight","value":%d}]`, 100-green, green)
	if err := d.stage.Patch(ctx, route, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
		return fmt.Errorf("change the weights of HTTPRoute shop/shop: %w", err)
	}
	return nil
}
