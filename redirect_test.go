package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRedirectFlags(t *testing.T) {
	for _, c := range []struct {
		hostIPs, args, want, fails string
	}{
		{"10.0.0.1,fd00::1", "", "{[10.0.0.1 fd00::1] [] [] [] []}", ""},
		{"10.0.0.1", "--host-ips=::ffff:10.0.0.2", "{[10.0.0.2] [] [] [] []}", ""},
		{"fe80::1%eth0", "--tcp-probe-ports=2,1 --exclude-inbound-ports=3 --exclude-outbound-ports=4,5 --exclude-outbound-cidrs=192.0.2.0/24",
			"{[fe80::1] [1 2] [3] [4 5] [192.0.2.0/24]}", ""},
		{"", "", "", `IPs of the node "": ParseAddr(""): unable to parse IP: set HOST_IPS from the field status.hostIPs, or --host-ips`},
		{"10.0.0.1,", "", "", `IPs of the node "10.0.0.1,"`},
		{"10.0.0.1", "--exclude-inbound-ports=0", "", `"0" is no port: write a number from 1 to 65535`},
		{"10.0.0.1", "--exclude-outbound-cidrs=192.0.2.1/24", "", "write 192.0.2.0/24"},
		{"10.0.0.1", "now", "", `weft redirect takes flags only, not ["now"]`},
	} {
		var r redirection
		err := r.parse(strings.Fields(c.args), c.hostIPs)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s %s: %v; want %s", c.hostIPs, c.args, err, c.fails)
			}
			continue
		}
		if got := fmt.Sprint(r.Config); err != nil || got != c.want {
			t.Errorf("%s %s: %s, %v; want %s", c.hostIPs, c.args, got, err, c.want)
		}
	}
}

// TestRedirectFiles: each of the two SDS files names the file that its secret is in.
func TestRedirectFiles(t *testing.T) {
	sds := t.TempDir()
	r := redirection{sds: sds, token: "/tokens/token", roots: "/roots/ca.crt"}
	if err := r.writeFiles(); err != nil {
		t.Fatal(err)
	}
	for file, names := range map[string]string{"token/token.json": r.token, "roots/roots.json": r.roots} {
		if content, err := os.ReadFile(filepath.Join(sds, file)); err != nil || !strings.Contains(string(content), `"`+names+`"`) {
			t.Errorf("%s: %s, %v; want %s", file, content, err, names)
		}
	}
}
