package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/webhooks"
)

// Where a proxy finds the operator, and its files.
const (
	xdsPort = 15010

	tokenPath = "/var/run/secrets/weft/token"
	rootsPath = "/etc/weft/roots/ca.crt"

	drainHeader = "x-weft-drain"
)

// xdsHost is where the proxies of an operator's revision find it.
func xdsHost(revision string) string {
	return serviceHost(webhooks.Revised(xdsName, revision))
}

// envoyFor is what the container of a Gateway's proxies is given.
func envoyFor(g *gwv1.Gateway, runtime map[string]any, limits gateway.Limits) (e gateway.Envoy, err error) {
	key := drainKey(g)
	bootstrap, err := envoy.Bootstrap(envoy.Proxy{
		XDSAddress:   fmt.Sprintf("%s:%d", xdsHost(""), xdsPort),
		XDSName:      xdsHost(""),
		TokenSDSPath: envoy.GatewayFiles.Token,
		RootsSDSPath: envoy.GatewayFiles.Roots,
		Runtime:      runtime,
		Memory:       limits.Memory,
		DrainHeader:  drainHeader,
		DrainKey:     key,
		Drain:        limits.Drain,
		AdminPort:    gateway.AdminPort,
		ReadyPort:    gateway.ReadyPort,
		StatsPort:    gateway.StatsPort,
	})
	if err != nil {
		return e, fmt.Errorf("bootstrap of Gateway %s/%s: %w", g.Namespace, g.Name, err)
	}
	token, err := envoy.TokenFile(tokenPath)
	if err != nil {
		return e, fmt.Errorf("SDS file of the token: %w", err)
	}
	roots, err := envoy.RootsFile(rootsPath)
	if err != nil {
		return e, fmt.Errorf("SDS file of the roots: %w", err)
	}
	return gateway.Envoy{
		Bootstrap:   string(bootstrap),
		Files:       []gateway.File{{Path: envoy.GatewayFiles.Token, Content: string(token)}, {Path: envoy.GatewayFiles.Roots, Content: string(roots)}},
		TokenPath:   tokenPath,
		RootsPath:   rootsPath,
		ReadyPath:   envoy.ReadyPath,
		DrainPath:   envoy.DrainPath,
		DrainHeader: corev1.HTTPHeader{Name: drainHeader, Value: key},
	}, nil
}

// sidecarEnvoy is what the proxy beside a pod is given, by the operator at host. Key is the pod's own: it
// keeps those who can reach the pod, but read nothing of the cluster, from draining it.
func sidecarEnvoy(o sidecar.Options, host, key string) (e sidecar.Envoy, err error) {
	bootstrap, err := envoy.Bootstrap(envoy.Proxy{
		XDSAddress:   fmt.Sprintf("%s:%d", host, xdsPort),
		XDSName:      host,
		TokenSDSPath: envoy.SidecarFiles.Token,
		RootsSDSPath: envoy.SidecarFiles.Roots,
		Memory:       o.Memory,
		DrainHeader:  drainHeader,
		DrainKey:     key,
		Drain:        o.Drain,
		AdminPort:    sidecar.AdminPort,
		ReadyPort:    sidecar.ReadyPort,
		StatsPort:    sidecar.StatsPort,
		Sidecar:      true,
	})
	if err != nil {
		return e, fmt.Errorf("bootstrap of a sidecar: %w", err)
	}
	return sidecar.Envoy{
		Bootstrap:   string(bootstrap),
		TokenPath:   tokenPath,
		RootsPath:   rootsPath,
		SDSPath:     envoy.SidecarFolder,
		ReadyPath:   envoy.ReadyPath,
		DrainPath:   envoy.DrainPath,
		DrainHeader: corev1.HTTPHeader{Name: drainHeader, Value: key},
	}, nil
}

// sidecarRevision is that of what image, Weft's own, puts beside pods by these defaults, for the operator
// at host.
func sidecarRevision(d v1alpha1.SidecarDefaults, image, host string) (string, error) {
	o, problem := sidecar.OptionsOf(&corev1.Pod{}, nil, d)
	if problem != "" {
		return "", fmt.Errorf("defaults of sidecars: %s", problem)
	}
	e, err := sidecarEnvoy(o, host, "any")
	if err != nil {
		return "", err
	}
	return sidecar.Revision(o, image, e), nil
}

// drainKey keeps those who can reach a proxy's pod, but read nothing of the cluster, from draining
// it. It stays the same, so that the pods need not be replaced.
func drainKey(g *gwv1.Gateway) string {
	sum := sha256.Sum256([]byte("drain " + string(g.UID)))
	return hex.EncodeToString(sum[:16])
}
