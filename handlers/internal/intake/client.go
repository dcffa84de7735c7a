package intake

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Client is who posted: the other end of the connection or, where that is a trusted
// proxy, the last hop before it that is none. What a client writes into the header itself
// stands to the left of that and is never reached.
func Client(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !Within(addr, proxies) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

// Within says whether one of the ranges holds the address.
func Within(addr netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
}
