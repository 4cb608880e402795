package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
)

// proxyTables are the tables that kube-proxy keeps in its nftables mode.
var proxyTables = [][]string{{"ip", "kube-proxy"}, {"ip6", "kube-proxy"}}

// DeleteRules deletes the packet filter rules of kube-proxy and of the CNI
// portmap plugin.
func DeleteRules(ctx context.Context) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil
	}
	var errs []error
	for _, table := range proxyTables {
		if _, err := output(ctx, "nft", "list", "table", table[0], table[1]); err != nil {
			continue
		}
		if _, err := output(ctx, "nft", "delete", "table", table[0], table[1]); err != nil {
			errs = append(errs, err)
		}
	}
	for _, family := range []string{"ip", "ip6"} {
		errs = append(errs, deletePortmapRules(ctx, family))
	}
	return errors.Join(errs...)
}

// deletePortmapRules works on the table that iptables-nft keeps, as iptables
// itself would make the table merely by looking at it.
func deletePortmapRules(ctx context.Context, family string) error {
	listing, err := output(ctx, "nft", "--handle", "list", "table", family, "nat")
	if err != nil {
		return nil // no such table
	}
	commands, empty := portmapCleanup(family, listing)
	if empty {
		commands = []string{"delete table " + family + " nat"}
	}
	if len(commands) == 0 {
		return nil
	}
	_, err = output(ctx, "nft", strings.Join(commands, "; "))
	return err
}

// portmapCleanup reads a listing of a nat table and returns the commands that
// delete the jumps to CNI chains and then the chains, and whether nothing but
// empty chains would remain.
func portmapCleanup(family string, listing []byte) (commands []string, empty bool) {
	var jumps, flushes, chains []string
	foreign := 0
	chain := ""
	lines := bufio.NewScanner(bytes.NewReader(listing))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 2 || fields[0] == "table" || fields[0] == "type":
		case fields[0] == "chain":
			chain = fields[1]
			if portmapChain(chain) {
				flushes = append(flushes, "flush chain "+family+" nat "+chain)
				chains = append(chains, "delete chain "+family+" nat "+chain)
			}
		case portmapChain(chain):
		case jumpsToPortmap(fields):
			jumps = append(jumps, "delete rule "+family+" nat "+chain+" handle "+fields[len(fields)-1])
		default:
			foreign++
		}
	}
	commands = append(append(jumps, flushes...), chains...)
	return commands, foreign == 0 && len(chains) > 0
}

func portmapChain(name string) bool { return strings.HasPrefix(name, "CNI-") }

func jumpsToPortmap(rule []string) bool {
	for i, word := range rule[:len(rule)-1] {
		if (word == "jump" || word == "goto") && portmapChain(rule[i+1]) {
			return true
		}
	}
	return false
}
