package link

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/mdlayher/netlink"
)

// The numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/if.h. They are written down here, and
// not taken from syscall, so that the parser is tested on every system.
const (
	rtmNewLink  = 16
	rtmDelLink  = 17
	rtmGetLink  = 18
	rtmNewAddr  = 20
	rtmDelAddr  = 21
	rtmGetAddr  = 22
	rtmNewRoute = 24
	rtmDelRoute = 25
	rtmGetRoute = 26

	iflaIfname      = 3
	iflaLinkNetnsID = 37
	iffUp           = 0x1
	iffLoopback     = 0x8
	iffRunning      = 0x40

	ifaAddress   = 1
	ifaLocal     = 2
	ifaDADFailed = 0x08
	ifaTentative = 0x40
	// maxScope is RT_SCOPE_SITE; beyond it are the link's and the host's own addresses.
	maxScope = 200

	rtaDst       = 1
	rtaOif       = 4
	rtaGateway   = 5
	rtaMultipath = 9
	rtaVia       = 18
	rtnUnicast   = 1
	rtnLocal     = 2
	// fibMatch is RTM_F_FIB_MATCH: the kernel answers with the entry of its table that matches, not with a route to one host.
	fibMatch = 0x2000
	// deadRoute is RTNH_F_DEAD, RTNH_F_LINKDOWN and RTM_F_CLONED.
	deadRoute = 0x1 | 0x10 | 0x200

	maxLinks     = 1024
	maxDefaults  = 64
	maxAddresses = 16
)

// attributes calls yield for each attribute of b. What is cut short ends it.
func attributes(b []byte, yield func(kind uint16, value []byte)) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return
	}
	for d.Next() {
		yield(d.Type(), d.Bytes())
	}
}

// iface is what matters of an interface.
type iface struct {
	name string
	// up is set with a carrier only; foreign, if its other end is in another network namespace.
	up, loopback, foreign bool
	// addresses lead beyond the link and can be used; at most maxAddresses are kept.
	addresses []string
}

// hop is where a route leads: over an interface, to a gateway unless the destination is on the link.
type hop struct {
	index   int32
	gateway string
}

// parseLink reads an ifinfomsg with its attributes.
func parseLink(b []byte) (index int32, i iface, ok bool) {
	if len(b) < 16 {
		return 0, i, false
	}
	index = int32(binary.NativeEndian.Uint32(b[4:]))
	flags := binary.NativeEndian.Uint32(b[8:])
	i.up = flags&iffUp != 0 && flags&iffRunning != 0
	i.loopback = flags&iffLoopback != 0
	attributes(b[16:], func(kind uint16, value []byte) {
		switch kind {
		case iflaIfname:
			name, _, _ := bytes.Cut(value, []byte{0})
			// IFNAMSIZ is 16 with the final zero.
			i.name = string(name[:min(len(name), 15)])
		case iflaLinkNetnsID:
			i.foreign = true
		}
	})
	return index, i, true
}

// parseAddress reads an ifaddrmsg. The address is empty where it does not lead beyond the link or cannot be used.
func parseAddress(b []byte) (index int32, address string, ok bool) {
	if len(b) < 8 {
		return 0, "", false
	}
	index = int32(binary.NativeEndian.Uint32(b[4:]))
	if b[3] > maxScope || b[2]&(ifaTentative|ifaDADFailed) != 0 {
		return index, "", true
	}
	address = "?"
	attributes(b[8:], func(kind uint16, value []byte) {
		// On a link with two ends the address is the other end's, and local is this one's.
		if kind == ifaLocal || kind == ifaAddress && address == "?" {
			address = string(value[:min(len(value), 16)])
		}
	})
	return index, address, true
}

// parseDefault reads an rtmsg; ok is set for a default route that leads somewhere. Without any hop the way out is not told.
func parseDefault(b []byte) (hops []hop, ok bool) {
	if len(b) < 12 || b[1] != 0 || b[2] != 0 || b[7] != rtnUnicast || binary.NativeEndian.Uint32(b[8:])&deadRoute != 0 {
		return nil, false
	}
	var single hop
	attributes(b[12:], func(kind uint16, value []byte) {
		switch {
		case kind == rtaOif && len(value) >= 4:
			single.index = int32(binary.NativeEndian.Uint32(value))
		case kind == rtaGateway || kind == rtaVia:
			single.gateway = string(value[:min(len(value), 18)])
		case kind == rtaMultipath:
			hops = append(hops, nextHops(value)...)
		}
	})
	if single.index != 0 {
		hops = append(hops, single)
	}
	return hops[:min(len(hops), maxDefaults)], true
}

// nextHops reads the rtnexthop structures of a multipath route.
func nextHops(b []byte) []hop {
	var hops []hop
	for len(b) >= 8 && len(hops) < maxDefaults {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 8 || size > len(b) {
			break
		}
		if b[2]&(deadRoute&0xff) == 0 {
			h := hop{index: int32(binary.NativeEndian.Uint32(b[4:]))}
			attributes(b[8:size], func(kind uint16, value []byte) {
				if kind == rtaGateway || kind == rtaVia {
					h.gateway = string(value[:min(len(value), 18)])
				}
			})
			hops = append(hops, h)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return hops
}

// specific reports whether an answer to RTM_GETROUTE with fibMatch says that the destination is on this machine, or is
// reached by a route of its own: one that is no default route and that leads somewhere.
func specific(b []byte) bool {
	if len(b) < 12 || binary.NativeEndian.Uint32(b[8:])&deadRoute != 0 {
		return false
	}
	return b[7] == rtnLocal || b[7] == rtnUnicast && b[1] != 0
}

// snapshot is what the kernel's tables hold.
type snapshot struct {
	links map[int32]iface
	// defaults holds the hops of each default route.
	defaults [][]hop
}

// add takes one message of a dump into the snapshot.
func (s *snapshot) add(m netlink.Message) {
	switch m.Header.Type {
	case rtmNewLink:
		index, i, ok := parseLink(m.Data)
		if ok && len(s.links) < maxLinks {
			if s.links == nil {
				s.links = make(map[int32]iface)
			}
			s.links[index] = i
		}
	case rtmNewAddr:
		index, address, ok := parseAddress(m.Data)
		if i, known := s.links[index]; ok && address != "" && known && len(i.addresses) < maxAddresses {
			i.addresses = append(i.addresses, address)
			s.links[index] = i
		}
	case rtmNewRoute:
		if hops, ok := parseDefault(m.Data); ok && len(s.defaults) < maxDefaults {
			s.defaults = append(s.defaults, hops)
		}
	}
}

// matters reports whether an event can change the verdict. A host with many pods sees an event for each of their
// interfaces, and a wireless driver one for each scan.
func (s *snapshot) matters(m netlink.Message) bool {
	switch m.Header.Type {
	case rtmNewLink:
		index, i, ok := parseLink(m.Data)
		was, known := s.links[index]
		// A new interface has neither address nor route yet, which come as events of their own.
		return ok && (known && (was.name != i.name || was.up != i.up) || !known && i.up)
	case rtmDelLink:
		index, _, ok := parseLink(m.Data)
		_, known := s.links[index]
		return ok && known
	case rtmNewAddr:
		index, address, ok := parseAddress(m.Data)
		known := s.links[index].addresses
		return ok && address != "" && len(known) < maxAddresses && !slices.Contains(known, address)
	case rtmDelAddr:
		_, _, ok := parseAddress(m.Data)
		return ok
	case rtmNewRoute, rtmDelRoute:
		// One that is dead now may have been alive.
		return len(m.Data) >= 12 && m.Data[1] == 0
	}
	return false
}

// verdict is what a snapshot means.
type verdict struct {
	state  State
	reason string
	// by lists the interfaces that lead out, ways the interfaces and gateways of default routes, addresses those of by.
	by, ways, addresses []string
}

// moved reports whether what was connected by the way out of before may be dead by that of v: by another interface, to another
// gateway, or from an address that is gone.
func (v *verdict) moved(before *verdict) bool {
	return v.state == Up && (!slices.Equal(v.by, before.by) || !slices.Equal(v.ways, before.ways) ||
		slices.ContainsFunc(before.addresses, func(a string) bool { return !slices.Contains(v.addresses, a) }))
}

// judge says whether there is a way out. seen says that there was a default route before: without one ever, the receivers
// may be near or have routes of their own, and nothing is known against trying.
func (s *snapshot) judge(names []string, seen bool) verdict {
	v := s.judgeState(names, seen)
	if v.state != Up {
		return v
	}
	for _, i := range s.links {
		if slices.Contains(v.by, i.name) {
			v.addresses = append(v.addresses, i.addresses...)
		}
	}
	for _, hops := range s.defaults {
		for _, h := range hops {
			v.ways = append(v.ways, s.links[h.index].name+" "+h.gateway)
		}
	}
	slices.Sort(v.ways)
	v.ways = slices.Compact(v.ways)
	return v
}

func (s *snapshot) judgeState(names []string, seen bool) verdict {
	byDefault, foreign := s.throughDefaults()
	if len(names) > 0 {
		return s.judgeNamed(names, foreign)
	}
	switch {
	case foreign:
		return verdict{reason: "the default route leaves to another network namespace, as in a pod without host network"}
	case len(byDefault) > 0:
		return verdict{state: Up, reason: "default route over " + byDefault[0], by: byDefault}
	case !seen:
		return verdict{reason: "no default route so far"}
	}
	return verdict{state: Down, reason: "no default route over an interface that is up"}
}

// throughDefaults returns the interfaces of all default routes that work. foreign is set if all of them leave to another namespace.
func (s *snapshot) throughDefaults() (by []string, foreign bool) {
	own := false
	for _, hops := range s.defaults {
		if len(hops) == 0 {
			by, own = append(by, "?"), true
		}
		for _, h := range hops {
			i, known := s.links[h.index]
			switch {
			case !known:
				// Beyond maxLinks, or newer than the dump of interfaces.
				by, own = append(by, "?"), true
			case i.up:
				by = append(by, i.name)
				own = own || !i.foreign
				foreign = foreign || i.foreign
			}
		}
	}
	slices.Sort(by)
	return slices.Compact(by), foreign && !own
}

func (s *snapshot) judgeNamed(names []string, foreign bool) verdict {
	var by []string
	exists := false
	for _, i := range s.links {
		if slices.Contains(names, i.name) {
			exists = true
			if i.up && len(i.addresses) > 0 {
				by = append(by, i.name)
			}
		}
	}
	slices.Sort(by)
	switch {
	case len(by) > 0:
		return verdict{state: Up, reason: "interface " + by[0] + " is up", by: by}
	case !exists && foreign:
		return verdict{reason: "no interface of link.interfaces can be seen from here, as in a pod without host network"}
	case len(s.links) >= maxLinks:
		return verdict{reason: "more interfaces than can be watched"}
	}
	return verdict{state: Down, reason: "no interface of link.interfaces is up with an address"}
}
