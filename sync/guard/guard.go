// Package guard stands before every connection that Tradewind opens on behalf of a user:
// which addresses may be reached, and how often. In goes a host and port that somebody
// wrote, out comes a connection to an address that was checked, or an error that says why
// not.
//
// It promises that a name is resolved once and that the address connected to is the one
// that was checked; it refuses addresses of the node, the cluster and the cloud's own
// services unless they are configured. Link-local addresses are refused always.
package guard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Guard dials. A name that changes its mind between check and use gains nothing.
type Guard struct {
	setting string   // where hosts come from, for hints
	hosts   []string // host or host:port
	ranges  []netip.Prefix
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Timeout bounds resolving and connecting, so that a dead address leaves time for an
// error that names it.
const Timeout = 10 * time.Second

// Listed reports whether a list of hosts (host or host:port) holds host, in lower case.
func Listed(hosts []string, host, port string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool {
		return strings.EqualFold(h, host) || strings.EqualFold(h, net.JoinHostPort(host, port))
	})
}

// BlockedError says that a host resolves to addresses Tradewind does not talk to.
type BlockedError struct {
	Host, Port string
	Addr       netip.Addr
	Setting    string // the list of the configuration that could allow it
	Always     bool   // no configuration allows it
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("%s is at %s, an address that is not allowed", e.Host, e.Addr)
}

// Hint is what to do next.
func (e *BlockedError) Hint() string {
	if e.Always {
		return "link-local, multicast and metadata addresses are never allowed"
	}
	return fmt.Sprintf("list %s under %s when it is meant to be inside", net.JoinHostPort(e.Host, e.Port), e.Setting)
}

// New returns a Guard that also reaches the given hosts (host or host:port) and address
// ranges although they are private or loopback. Hints name setting, the part of the
// configuration that the hosts come from.
func New(setting string, hosts []string, ranges []netip.Prefix) *Guard {
	return &Guard{setting: setting, hosts: slices.Clone(hosts), ranges: slices.Clone(ranges), lookup: net.DefaultResolver.LookupNetIP}
}

// Dial connects to host:port.
func (g *Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, addr := range addrs {
		if err := g.check(host, port, addr); err != nil {
			failed = append(failed, err)
			continue
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, failed[0] // resolve never returns nothing
}

func (g *Guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := g.lookup(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

func (g *Guard) check(host, port string, addr netip.Addr) error {
	addr = embedded(addr)
	blocked := &BlockedError{Host: host, Port: port, Addr: addr, Setting: g.setting}
	if addr.Zone() != "" || containedIn(addr, never) {
		blocked.Always = true
		return blocked
	}
	if !containedIn(addr, internal) || Listed(g.hosts, host, port) || containedIn(addr, g.ranges) {
		return nil
	}
	return blocked
}

// embedded returns the IPv4 address that a NAT64 or 6to4 address leads to.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	switch {
	case addr.Is4():
		return addr
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")

	// never are addresses no configuration allows: link-local holds the metadata
	// services of the clouds; the two single ones are metadata services elsewhere.
	never = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32",
		"224.0.0.0/4", "ff00::/8", "255.255.255.255/32", "0.0.0.0/32", "::/128")

	// internal are addresses that need to be allowed: loopback, private use, shared
	// (carrier and cluster) ranges, and ranges reserved for other purposes.
	internal = prefixes("0.0.0.0/8", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
		"100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::1/128", "fc00::/7", "fec0::/10", "64:ff9b:1::/48", "2001:db8::/32")
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

func containedIn(addr netip.Addr, ps []netip.Prefix) bool {
	for _, p := range ps {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
