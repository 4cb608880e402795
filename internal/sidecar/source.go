package sidecar

import "net/netip"

// The proxy's connections to its own pod's app come from these addresses, so that they are told
// apart from what it sends there for a caller in the pod. weft redirect puts the second on the
// loopback interface; 127.0.0.6 is there in any pod.
var (
	AppSource4 = netip.AddrFrom4([4]byte{127, 0, 0, 6})
	AppSource6 = netip.AddrFrom16([16]byte{15: 6})
)
