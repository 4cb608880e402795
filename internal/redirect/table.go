package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TableName is the name of Weft's table, of the family inet.
const TableName = "weft"

// ErrCapability says that the kernel does not let this process change the pod's network.
var ErrCapability = errors.New("the capability NET_ADMIN is missing: run as user 0 with securityContext.capabilities.add: [NET_ADMIN]" +
	" (Kubernetes gives it to no other user), in a namespace whose Pod Security level is privileged")

// Apply makes Chains(c) the whole content of the table, in one transaction, and adds the address that
// they need. It may be repeated. The network namespace is that of the calling thread.
func Apply(c Config) error {
	if err := write(Chains(c)); err != nil {
		return fmt.Errorf("write the nftables table inet %s: %w", TableName, explained(err))
	}
	if err := addSource(); err != nil {
		return fmt.Errorf("add an address to the loopback interface: %w", explained(err))
	}
	return nil
}

func explained(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrCapability, err)
	}
	return err
}

// transaction holds until Flush what the kernel then takes, all of it or nothing.
type transaction struct {
	*nftables.Conn
	table *nftables.Table
}

func write(chains []Chain) error {
	conn, err := nftables.New(nftables.WithSockOptions(roomy))
	if err != nil {
		return err
	}
	t := transaction{conn, &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}}
	t.AddTable(t.table) // so that there is one to delete
	t.DelTable(t.table)
	t.AddTable(t.table)
	made := make([]*nftables.Chain, len(chains))
	for i, c := range chains { // before the rules, which lead to other chains
		made[i] = t.AddChain(t.chain(c))
	}
	for i, c := range chains {
		for _, r := range c.Rules {
			if err := t.rule(made[i], r); err != nil {
				return fmt.Errorf("rule %s: %w", r, err)
			}
		}
	}
	return t.Flush()
}

// roomy has the socket hold the largest transaction and its answers: two for each message, and all
// are there before the first is read.
func roomy(c *netlink.Conn) error {
	const room = 16 << 20
	return errors.Join(c.SetReadBuffer(room), c.SetWriteBuffer(room))
}

func (t transaction) chain(c Chain) *nftables.Chain {
	chain := &nftables.Chain{Table: t.table, Name: c.Name}
	if c.Hook != nil {
		chain.Type = nftables.ChainType(c.Hook.Type)
		chain.Hooknum = nftables.ChainHookPrerouting
		if c.Hook.Place == "output" {
			chain.Hooknum = nftables.ChainHookOutput
		}
		chain.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Hook.Priority))
	}
	return chain
}

func (t transaction) rule(c *nftables.Chain, r Rule) error {
	var all []expr.Any
	for _, m := range r.If {
		one, err := m.exprs(&t)
		if err != nil {
			return err
		}
		all = append(all, one...)
	}
	t.AddRule(&nftables.Rule{Table: t.table, Chain: c, Exprs: append(all, r.Then.exprs()...)})
	return nil
}

// register is where a value is loaded before it is compared; one is enough.
const register = 1

func (m arrivesBy) exprs(*transaction) ([]expr.Any, error) {
	return meta(expr.MetaKeyIIFNAME, interfaceName(string(m))), nil
}

func (m leavesBy) exprs(*transaction) ([]expr.Any, error) {
	return meta(expr.MetaKeyOIFNAME, interfaceName(string(m))), nil
}

func (m sentBy) exprs(*transaction) ([]expr.Any, error) {
	key := expr.MetaKeySKUID
	if m.group {
		key = expr.MetaKeySKGID
	}
	return meta(key, binaryutil.NativeEndian.PutUint32(m.id)), nil
}

func (isTCP) exprs(*transaction) ([]expr.Any, error) { return tcp(), nil }

func (m ports) exprs(t *transaction) ([]expr.Any, error) {
	offset := uint32(2)
	if m.source {
		offset = 0
	}
	if len(m.list) == 1 {
		return append(tcp(), field(expr.PayloadBaseTransportHeader, offset, binaryutil.BigEndian.PutUint16(m.list[0]))...), nil
	}
	elements := make([]nftables.SetElement, len(m.list))
	for i, port := range m.list {
		elements[i].Key = binaryutil.BigEndian.PutUint16(port)
	}
	set := &nftables.Set{Table: t.table, Anonymous: true, Constant: true, KeyType: nftables.TypeInetService}
	if err := t.AddSet(set, elements); err != nil {
		return nil, err
	}
	return append(tcp(),
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2, DestRegister: register},
		&expr.Lookup{SourceRegister: register, SetName: set.Name, SetID: set.ID},
	), nil
}

func (m address) exprs(*transaction) ([]expr.Any, error) {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(16)
	if m.in.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	bytes := m.in.Addr().BitLen() / 8
	if m.source {
		offset -= uint32(bytes)
	}
	op := expr.CmpOpEq
	if m.not {
		op = expr.CmpOpNeq
	}
	all := append(meta(expr.MetaKeyNFPROTO, []byte{family}),
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(bytes), DestRegister: register})
	if !m.in.IsSingleIP() {
		all = append(all, masked(net.CIDRMask(m.in.Bits(), 8*bytes)))
	}
	return append(all, &expr.Cmp{Op: op, Register: register, Data: m.in.Addr().AsSlice()}), nil
}

func (m bare) exprs(*transaction) ([]expr.Any, error) {
	const network, transport = expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	var all []expr.Any
	if m.ip6 {
		all = append(meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV6}), field(network, 4, binaryutil.BigEndian.PutUint16(4*m.words))...)
	} else {
		all = append(meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4}), bits(network, 0, 0x0f, 5)...)
		all = append(all, field(network, 2, binaryutil.BigEndian.PutUint16(20+4*m.words))...)
	}
	all = append(all, tcp()...)
	return append(all, bits(transport, 12, 0xf0, byte(m.words<<4))...), nil
}

func tcp() []expr.Any { return meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}) }

func meta(key expr.MetaKey, is []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: register}, equals(is)}
}

func field(base expr.PayloadBase, offset uint32, is []byte) []expr.Any {
	return []expr.Any{&expr.Payload{Base: base, Offset: offset, Len: uint32(len(is)), DestRegister: register}, equals(is)}
}

// bits are those of one byte that the mask shows.
func bits(base expr.PayloadBase, offset uint32, mask, is byte) []expr.Any {
	return []expr.Any{&expr.Payload{Base: base, Offset: offset, Len: 1, DestRegister: register}, masked([]byte{mask}), equals([]byte{is})}
}

func masked(mask []byte) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

func equals(is []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: is} }

// interfaceName is compared with all the bytes of a name, so that lo is not the start of another.
func interfaceName(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

func (v plain) exprs() []expr.Any {
	kind := map[plain]expr.VerdictKind{pass: expr.VerdictReturn, accept: expr.VerdictAccept, drop: expr.VerdictDrop}[v]
	return []expr.Any{&expr.Verdict{Kind: kind}}
}

func (resets) exprs() []expr.Any { return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

func (v jump) exprs() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: string(v)}}
}

func (v goTo) exprs() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: string(v)}}
}

func (v redirectTo) exprs() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, uint16(v))},
		&expr.Redir{RegisterProtoMin: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}
