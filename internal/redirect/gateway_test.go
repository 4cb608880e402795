package redirect

import (
	"fmt"
	"testing"
)

func TestGateways(t *testing.T) {
	const routes4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	if got := fmt.Sprint(gateways4(routes4)); got != "[10.244.0.1]" {
		t.Errorf("IPv4: %s", got)
	}
	const routes6 = "fd000010024400000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000010024400000000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
	if got := fmt.Sprint(gateways6(routes6)); got != "[fd00:10:244::1]" {
		t.Errorf("IPv6: %s", got)
	}
}

func FuzzGateways(f *testing.F) {
	f.Add("eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, ip := range append(gateways4(text), gateways6(text)...) {
			if !ip.IsValid() {
				t.Errorf("%q gives an address that is none", text)
			}
		}
	})
}
