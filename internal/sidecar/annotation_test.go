package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	for _, c := range []struct{ text, want, fails string }{
		{"", "[]", ""},
		{"  ", "[]", ""},
		{"80", "[80]", ""},
		{"443, 80,443 ", "[80 443]", ""},
		{"1,65535", "[1 65535]", ""},
		{"0", "", `"0" is no port: write a number from 1 to 65535`},
		{"65536", "", `"65536" is no port: write a number from 1 to 65535`},
		{"-1", "", `"-1" is no port: write a number from 1 to 65535`},
		{"http", "", `"http" is no port: write a number from 1 to 65535`},
		{"80-90", "", `"80-90" is no port: list each port of a range, separated by commas`},
		{"80,,90", "", `"80,,90" lacks a port at a comma: write one on both sides of each comma`},
		{"80,", "", `"80," lacks a port at a comma: write one on both sides of each comma`},
		{"80;90", "", `"80;90" is no port: write a number from 1 to 65535`},
		{many(MaxListed+1, "80"), "", "1001 are listed: list 1000 at most"},
		{many(MaxListed, "80"), "[80]", ""},
	} {
		ports, err := ParsePorts(c.text)
		check(t, c.text, fmt.Sprint(ports), c.want, err, c.fails)
	}
}

func TestParsePrefixes(t *testing.T) {
	for _, c := range []struct{ text, want, fails string }{
		{"", "[]", ""},
		{"10.0.0.0/8", "[10.0.0.0/8]", ""},
		{"fd00::/8 , 10.0.0.0/8,10.0.0.0/8", "[10.0.0.0/8 fd00::/8]", ""},
		{"0.0.0.0/0,::/0", "[0.0.0.0/0 ::/0]", ""},
		{"10.0.0.1", "", `"10.0.0.1" has no prefix length: write 10.0.0.1/32 for this address alone`},
		{"fe80::1%eth0", "", `"fe80::1%eth0" has no prefix length: write fe80::1/128 for this address alone`},
		{"10.0.0.1/8", "", `"10.0.0.1/8" has bits set behind its prefix length: write 10.0.0.0/8`},
		{"::ffff:10.0.0.0/104", "", `"::ffff:10.0.0.0/104" is IPv4 written as IPv6: write it as IPv4, such as 10.0.0.0/8`},
		{"10.0.0.0/33", "", `"10.0.0.0/33" is no network: write one such as 10.0.0.0/8 or fd00::/8`},
		{"example.com", "", `"example.com" is no network: write one such as 10.0.0.0/8 or fd00::/8`},
		{",", "", `"," lacks a network at a comma: write one on both sides of each comma`},
	} {
		prefixes, err := ParsePrefixes(c.text)
		check(t, c.text, fmt.Sprint(prefixes), c.want, err, c.fails)
	}
}

func many(n int, part string) string {
	return strings.TrimSuffix(strings.Repeat(part+",", n), ",")
}

func check(t *testing.T, text, got, want string, err error, fails string) {
	t.Helper()
	if fails != "" {
		want = "[]"
	}
	if err == nil {
		err = errors.New("")
	}
	if got != want || err.Error() != fails {
		t.Errorf("%.40q: %s, %q; want %s, %q", text, got, err, want, fails)
	}
}

// FuzzParsePorts: what is read is sorted and unique, and written again it is read the same.
func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"", "80", "443, 80", "0", "80-90", ",", "65536", "+80", "080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ports, err := ParsePorts(text)
		if err != nil {
			if ports != nil {
				t.Errorf("%q: %v with an error", text, ports)
			}
			return
		}
		again, err := ParsePorts(strings.Trim(strings.Join(strings.Fields(fmt.Sprint(ports)), ","), "[]"))
		if err != nil || !slices.Equal(again, ports) {
			t.Errorf("%q is read as %v, and that as %v, %v", text, ports, again, err)
		}
		for i, port := range ports {
			if port == 0 || i > 0 && ports[i-1] >= port {
				t.Errorf("%q: %v", text, ports)
			}
		}
	})
}

// FuzzParsePrefixes: what is read is masked, of one family each, sorted and unique, and written
// again it is read the same.
func FuzzParsePrefixes(f *testing.F) {
	for _, s := range []string{"", "10.0.0.0/8", "fd00::/8,10.0.0.0/8", "10.0.0.1", "10.0.0.1/8", "::ffff:10.0.0.0/104", "fe80::%1/64", ","} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefixes, err := ParsePrefixes(text)
		if err != nil {
			if prefixes != nil {
				t.Errorf("%q: %v with an error", text, prefixes)
			}
			return
		}
		again, err := ParsePrefixes(strings.Trim(strings.Join(strings.Fields(fmt.Sprint(prefixes)), ","), "[]"))
		if err != nil || !slices.Equal(again, prefixes) {
			t.Errorf("%q is read as %v, and that as %v, %v", text, prefixes, again, err)
		}
		for i, p := range prefixes {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || i > 0 && prefixes[i-1].Compare(p) >= 0 {
				t.Errorf("%q: %v", text, prefixes)
			}
		}
	})
}
