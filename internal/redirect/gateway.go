package redirect

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Gateways are the routers of the pod's default routes. With most network plugins that is the node
// itself, and what the kubelet's probes come from: the node's other addresses are on other interfaces.
func Gateways() ([]netip.Addr, error) {
	var all []netip.Addr
	for file, parse := range map[string]func(string) []netip.Addr{"/proc/net/route": gateways4, "/proc/net/ipv6_route": gateways6} {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the pod has no such family
		}
		if err != nil {
			return nil, fmt.Errorf("read the pod's routes: %w", err)
		}
		all = append(all, parse(string(text))...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// gateways4 reads /proc/net/route, whose addresses are in the order of the machine's bytes.
func gateways4(text string) (all []netip.Addr) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		n, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil || n == 0 {
			continue
		}
		var ip [4]byte
		binary.NativeEndian.PutUint32(ip[:], uint32(n))
		all = append(all, netip.AddrFrom4(ip))
	}
	return all
}

// gateways6 reads /proc/net/ipv6_route.
func gateways6(text string) (all []netip.Addr) {
	zero := strings.Repeat("0", 32)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 || f[0] != zero || f[1] != "00" || f[4] == zero {
			continue
		}
		raw, err := hex.DecodeString(f[4])
		if ip, ok := netip.AddrFromSlice(raw); err == nil && ok {
			all = append(all, ip)
		}
	}
	return all
}
