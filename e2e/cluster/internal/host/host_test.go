package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMountsUnderListsLatestFirst(t *testing.T) {
	const table = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 27 0:30 / /var/lib/weft rw - tmpfs tmpfs rw
31 30 0:31 / /var/lib/weft/a\040b rw shared:1 - overlay overlay rw
32 31 0:32 / /var/lib/weft/a\040b/inner rw - tmpfs tmpfs rw
33 27 0:33 / /var/lib/weft-other rw - tmpfs tmpfs rw
short line
`
	want := []string{"/var/lib/weft/a b/inner", "/var/lib/weft/a b", "/var/lib/weft"}
	if got := mountsUnder([]byte(table), "/var/lib/weft"); !slices.Equal(got, want) {
		t.Errorf("mountsUnder = %q, want %q", got, want)
	}
}

func FuzzMountsUnder(f *testing.F) {
	f.Add([]byte(`31 30 0:31 / /var/lib/weft/a\040b rw - overlay overlay rw`))
	f.Fuzz(func(t *testing.T, table []byte) {
		for _, point := range mountsUnder(table, "/var/lib/weft") {
			if point != "/var/lib/weft" && filepath.Dir(point) == point {
				t.Errorf("mount point %q is outside the folder", point)
			}
		}
	})
}

// natTable is what nft prints after a pod with a host port ran.
const natTable = `table ip nat { # handle 31
	chain CNI-HOSTPORT-SETMARK { # handle 1
		 counter packets 0 bytes 0 meta mark set mark or 0x2000 # handle 2
	}

	chain CNI-HOSTPORT-MASQ { # handle 3
		meta mark & 0x00002000 == 0x00002000 counter packets 0 bytes 0 masquerade # handle 4
	}

	chain POSTROUTING { # handle 5
		type nat hook postrouting priority srcnat; policy accept;
		 counter packets 4 bytes 240 jump CNI-HOSTPORT-MASQ # handle 6
	}

	chain OUTPUT { # handle 10
		type nat hook output priority -100; policy accept;
		fib daddr type local counter packets 0 bytes 0 jump CNI-HOSTPORT-DNAT # handle 11
%s	}
}
`

const foreignRule = "\t\ttcp dport 80 dnat to 192.0.2.1 # handle 12\n"

func TestPortmapCleanup(t *testing.T) {
	if _, empty := portmapCleanup("ip", fmt.Appendf(nil, natTable, "")); !empty {
		t.Error("a table with only rules of the plugin does not count as empty")
	}
	commands, empty := portmapCleanup("ip", fmt.Appendf(nil, natTable, foreignRule))
	if empty {
		t.Error("a table with a foreign rule counts as empty")
	}
	want := []string{
		"delete rule ip nat POSTROUTING handle 6", "delete rule ip nat OUTPUT handle 11",
		"flush chain ip nat CNI-HOSTPORT-SETMARK", "flush chain ip nat CNI-HOSTPORT-MASQ",
		"delete chain ip nat CNI-HOSTPORT-SETMARK", "delete chain ip nat CNI-HOSTPORT-MASQ",
	}
	if !slices.Equal(commands, want) {
		t.Errorf("commands are %q, want %q", commands, want)
	}
}

func TestRestoreSysctlsReportsBadRecord(t *testing.T) {
	record := filepath.Join(t.TempDir(), "sysctls.json")
	if err := RestoreSysctls(record); err != nil {
		t.Errorf("without a record: %v", err)
	}
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RestoreSysctls(record); err == nil {
		t.Error("a broken record is accepted")
	}
}

func TestSysctlRecordIsNotOverwritten(t *testing.T) {
	record := filepath.Join(t.TempDir(), "sysctls.json")
	write := func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }
	if err := recordSysctls(record, write); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(record)
	if err != nil || !json.Valid(first) {
		t.Fatalf("the record is %q (%v)", first, err)
	}
	refuse := func(string, []byte) error {
		t.Error("the record was written again")
		return nil
	}
	if err := recordSysctls(record, refuse); err != nil {
		t.Fatal(err)
	}
}
