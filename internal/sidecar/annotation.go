package sidecar

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParsePorts reads ports separated by commas, in order and without repeats. An empty text has none.
func ParsePorts(text string) ([]uint16, error) {
	var ports []uint16
	for _, word := range words(text) {
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is no port: write numbers from 1 to 65535, separated by commas", word)
		}
		ports = append(ports, uint16(port))
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// ParsePrefixes reads CIDR ranges separated by commas, in order and without repeats. An empty text has
// none.
func ParsePrefixes(text string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, word := range words(text) {
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("%q is no CIDR range: write such as 10.0.0.0/8 or fd00::/8, separated by commas", word)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes), nil
}

func words(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	all := strings.Split(text, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}
