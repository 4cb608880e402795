package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/redirect"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// redirection is what the flags of weft redirect say.
type redirection struct {
	redirect.Config
	sds, token, roots string
}

// redirectPod prepares the pod that it runs in for its proxy, and ends.
func redirectPod(_ context.Context, args []string) error {
	var r redirection
	if err := r.parse(args, os.Getenv("HOST_IPS")); err != nil {
		return err
	}
	if err := redirect.Apply(r.Config); err != nil {
		return err
	}
	return r.writeFiles()
}

func (r *redirection) parse(args []string, hostIPs string) error {
	flags := flag.NewFlagSet("weft redirect", flag.ContinueOnError)
	flags.StringVar(&hostIPs, "host-ips", hostIPs, "IPs of the pod's node, separated by commas")
	ports := func(to *[]uint16) func(string) error {
		return func(text string) (err error) {
			*to, err = sidecar.ParsePorts(text)
			return err
		}
	}
	flags.Func("tcp-probe-ports", "local `ports` to which the node may connect, without sending anything", ports(&r.TCPProbePorts))
	flags.Func("exclude-inbound-ports", "local `ports` that are reached without the proxy", ports(&r.ExcludeInbound))
	flags.Func("exclude-outbound-ports", "remote `ports` that are reached without the proxy", ports(&r.ExcludeOutbound))
	flags.Func("exclude-outbound-cidrs", "`networks` that are reached without the proxy", func(text string) (err error) {
		r.ExcludeNetworks, err = sidecar.ParsePrefixes(text)
		return err
	})
	flags.StringVar(&r.sds, "sds", "/run/weft/sds", "`folder` where the proxy's token/token.json and roots/roots.json are written")
	flags.StringVar(&r.token, "token", "/var/run/secrets/weft/token", "`file` with the proxy's token")
	flags.StringVar(&r.roots, "roots", "/etc/weft/roots/ca.crt", "`file` with the authorities by which the proxy knows the operator")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("weft redirect takes flags only, not %q", flags.Args())
	}
	var err error
	r.NodeIPs, err = parseIPs(hostIPs)
	return err
}

// parseIPs reads the IPs of the node. Without any, every probe of the kubelet would be refused.
func parseIPs(text string) ([]netip.Addr, error) {
	var all []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("IPs of the node %q: %w: set HOST_IPS from the field status.hostIPs, or --host-ips", text, err)
		}
		all = append(all, ip.Unmap().WithZone(""))
	}
	return all, nil
}

func (r *redirection) writeFiles() error {
	token, tokenErr := envoy.TokenFile(r.token)
	roots, rootsErr := envoy.RootsFile(r.roots)
	if err := errors.Join(tokenErr, rootsErr); err != nil {
		return err
	}
	return redirect.WriteFiles(r.sds, []redirect.File{
		{Path: filepath.Join(r.sds, "token", "token.json"), Content: token},
		{Path: filepath.Join(r.sds, "roots", "roots.json"), Content: roots},
	})
}
