package server

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Gate tells by which way and under which name a request came.
type Gate struct {
	// Names are names of this machine beside localhost and those that NewGate finds.
	names []string
}

// NewGate returns a gate that knows localhost, the host's name (a pod's is the pod's), that name in mDNS, the host of the address to listen
// on, and further names.
func NewGate(listen string, further ...string) *Gate {
	g := &Gate{names: []string{"localhost"}}
	if host, err := os.Hostname(); err == nil {
		g.names = append(g.names, host, host+".local")
	}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		g.names = append(g.names, host)
	}
	g.names = append(g.names, further...)
	for i, name := range g.names {
		g.names[i] = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	return g
}

// Loopback reports whether a request came in at a loopback address, where only the machine itself, or its pod, can send one.
func Loopback(r *http.Request) bool {
	address, ok := localAddress(r)
	return ok && address.IsLoopback()
}

// Own reports whether the Host of a request is a name of this machine. An address is always one where it is not a loopback's: nobody can
// make an address point elsewhere. At a loopback address only loopback addresses are.
func (g *Gate) Own(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback() || !Loopback(r)
	}
	return slices.Contains(g.names, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// localAddress is the address that the client connected to.
func localAddress(r *http.Request) (netip.Addr, bool) {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	address, ok := netip.AddrFromSlice(a.IP)
	return address.Unmap(), ok
}
