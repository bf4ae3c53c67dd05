//go:build !linux

package link

import (
	"context"
	"net/netip"
	"runtime"
)

func reaches(netip.Addr) bool { return false }

func watch(_ context.Context, l *Link, _ []string) {
	l.publish(Unknown, "links are not watched on "+runtime.GOOS, false)
}
