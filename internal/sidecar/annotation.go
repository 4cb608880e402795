package sidecar

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxListed is how many ports or networks one annotation may name.
const MaxListed = 1000

// ParsePorts reads ports from 1 to 65535, separated by commas. They come sorted, each once; of an
// empty text, none. An error says which of them is wrong, and what to write instead.
func ParsePorts(text string) ([]uint16, error) {
	ports, err := parseList(text, "port", parsePort)
	slices.Sort(ports)
	return slices.Compact(ports), err
}

// ParsePrefixes reads IPv4 and IPv6 networks in CIDR notation, separated by commas. They come
// sorted, each once; of an empty text, none. An error says which of them is wrong, and what to
// write instead.
func ParsePrefixes(text string) ([]netip.Prefix, error) {
	prefixes, err := parseList(text, "network", parsePrefix)
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes), err
}

func parseList[T any](text, what string, parse func(string) (T, error)) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if n := strings.Count(text, ",") + 1; n > MaxListed {
		return nil, fmt.Errorf("%d are listed: list %d at most", n, MaxListed)
	}
	var all []T
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, fmt.Errorf("%.60q lacks a %s at a comma: write one on both sides of each comma", text, what)
		}
		one, err := parse(part)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err == nil && port > 0 {
		return uint16(port), nil
	}
	if low, high, is := strings.Cut(text, "-"); is && low != "" && high != "" {
		return 0, fmt.Errorf("%.60q is no port: list each port of a range, separated by commas", text)
	}
	return 0, fmt.Errorf("%.60q is no port: write a number from 1 to 65535", text)
}

func parsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		ip = ip.Unmap().WithZone("")
		return netip.Prefix{}, fmt.Errorf("%.60q has no prefix length: write %s for this address alone", text, netip.PrefixFrom(ip, ip.BitLen()))
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is no network: write one such as 10.0.0.0/8 or fd00::/8", text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%.60q is IPv4 written as IPv6: write it as IPv4, such as 10.0.0.0/8", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%.60q has bits set behind its prefix length: write %s", text, prefix.Masked())
	}
	return prefix, nil
}
