package redirect

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// addSource puts sidecar.AppSource6 on the loopback interface, unless the pod has no IPv6: then ::1
// is not there either.
func addSource() error {
	lo, err := net.InterfaceByName(loopback)
	if err != nil {
		return err
	}
	present, err := lo.Addrs()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(present, func(a net.Addr) bool { return a.String() == loopback6.String() }) {
		return nil
	}
	return addAddress(lo.Index, sidecar.AppSource6)
}

func addAddress(index int, ip netip.Addr) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	head := make([]byte, unix.SizeofIfAddrmsg)
	head[0], head[1], head[2], head[3] = unix.AF_INET6, byte(ip.BitLen()), unix.IFA_F_NODAD, unix.RT_SCOPE_HOST
	binary.NativeEndian.PutUint32(head[4:], uint32(index))
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.IFA_LOCAL, Data: ip.AsSlice()}})
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWADDR, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Replace},
		Data:   append(head, attributes...),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ip, err)
	}
	return nil
}
