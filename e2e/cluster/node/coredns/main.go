// Command coredns is CoreDNS with only the plugins that a cluster's DNS uses, and those that the
// Gateway API conformance suite's manifests name.
package main

import (
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/whoami"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func init() {
	// The order in which a query passes the plugins, as in upstream's plugin.cfg.
	dnsserver.Directives = []string{
		"reload", "errors", "log", "health", "ready", "cache", "loadbalance", "loop", "kubernetes", "forward", "whoami",
	}
}

func main() {
	coremain.Run()
}
