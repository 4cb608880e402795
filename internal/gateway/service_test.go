package gateway

import (
	"fmt"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestRequestedAddresses(t *testing.T) {
	for _, tt := range []struct {
		addresses []gwv1.GatewaySpecAddress
		ip        string
		families  string
	}{
		{nil, "", "[]"},
		{[]gwv1.GatewaySpecAddress{{Value: "192.0.2.1"}}, "192.0.2.1", "[IPv4]"},
		{[]gwv1.GatewaySpecAddress{{Value: "192.0.2.1"}, {Value: "192.0.2.2"}}, "192.0.2.1", "[IPv4]"},
		{[]gwv1.GatewaySpecAddress{{Value: "2001:db8::1"}}, "2001:db8::1", "[IPv6]"},
		{[]gwv1.GatewaySpecAddress{{Value: "2001:db8::1"}, {Value: "192.0.2.1"}}, "2001:db8::1", "[]"},
		{[]gwv1.GatewaySpecAddress{{Type: new(gwv1.IPAddressType)}, {Value: "192.0.2.1"}}, "192.0.2.1", "[]"},
		{[]gwv1.GatewaySpecAddress{{Type: new(gwv1.HostnameAddressType), Value: "shop.test"}, {Value: "192.0.2.1"}}, "192.0.2.1", "[IPv4]"},
		{[]gwv1.GatewaySpecAddress{{Value: "somewhere"}}, "somewhere", "[]"},
	} {
		g := &gwv1.Gateway{Spec: gwv1.GatewaySpec{Addresses: tt.addresses}}
		if ip, families := RequestedIP(g), fmt.Sprint(requestedFamily(g)); ip != tt.ip || families != tt.families {
			t.Errorf("%v: %q of %s, want %q of %s", tt.addresses, ip, families, tt.ip, tt.families)
		}
	}
}
