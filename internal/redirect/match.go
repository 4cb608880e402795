package redirect

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
)

// A match and a verdict are what the kernel gets by exprs, and a person reads, in nft's language, by
// String.
type (
	match interface {
		fmt.Stringer
		exprs(*transaction) ([]expr.Any, error)
	}
	verdict interface {
		fmt.Stringer
		exprs() []expr.Any
	}
)

type (
	arrivesBy string // interface
	leavesBy  string
	sentBy    struct {
		group bool
		id    uint32
	}
	isTCP struct{}
	ports struct {
		source bool
		list   []uint16
	}
	address struct {
		source, not bool
		in          netip.Prefix
	}
	// bare is a segment without payload and IP options, whose TCP header has that many words. A
	// length must be equal, not merely small: that of a merged packet of more than 64 KiB is 0.
	bare struct {
		ip6   bool
		words uint16
	}
)

type (
	plain      string // return, accept or drop
	resets     struct{}
	jump       string // comes back when that chain has not decided
	goTo       string // does not
	redirectTo uint16 // port
)

const (
	pass   plain = "return"
	accept plain = "accept"
	drop   plain = "drop"
)

func (m arrivesBy) String() string { return fmt.Sprintf("iifname %q", string(m)) }
func (m leavesBy) String() string  { return fmt.Sprintf("oifname %q", string(m)) }
func (isTCP) String() string       { return "meta l4proto tcp" }

func (m sentBy) String() string {
	if m.group {
		return fmt.Sprintf("meta skgid %d", m.id)
	}
	return fmt.Sprintf("meta skuid %d", m.id)
}

func (m ports) String() string {
	which := "tcp " + either(m.source, "sport", "dport")
	if len(m.list) == 1 {
		return fmt.Sprintf("%s %d", which, m.list[0])
	}
	return fmt.Sprintf("%s { %s }", which, strings.Trim(strings.ReplaceAll(fmt.Sprint(m.list), " ", ", "), "[]"))
}

func (m address) String() string {
	family := "ip"
	if m.in.Addr().Is6() {
		family = "ip6"
	}
	value := m.in.String()
	if m.in.IsSingleIP() {
		value = m.in.Addr().String()
	}
	return fmt.Sprintf("%s %s %s%s", family, either(m.source, "saddr", "daddr"), either(m.not, "!= ", ""), value)
}

func (m bare) String() string {
	if m.ip6 {
		return fmt.Sprintf("ip6 length %d tcp doff %d", 4*m.words, m.words)
	}
	return fmt.Sprintf("ip hdrlength 5 ip length %d tcp doff %d", 20+4*m.words, m.words)
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (v plain) String() string      { return string(v) }
func (resets) String() string       { return "reject with tcp reset" }
func (v jump) String() string       { return "jump " + string(v) }
func (v goTo) String() string       { return "goto " + string(v) }
func (v redirectTo) String() string { return fmt.Sprintf("redirect to :%d", uint16(v)) }

func (r Rule) String() string {
	var parts []string
	for _, m := range r.If {
		parts = append(parts, m.String())
	}
	return strings.Join(append(parts, r.Then.String()), " ")
}

// String is the chain as nft writes and reads it.
func (c Chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chain %s {\n", c.Name)
	if c.Hook != nil {
		fmt.Fprintf(&b, "\ttype %s hook %s priority %d; policy accept;\n", c.Hook.Type, c.Hook.Place, c.Hook.Priority)
	}
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "\t%s\n", r)
	}
	b.WriteString("}\n")
	return b.String()
}
