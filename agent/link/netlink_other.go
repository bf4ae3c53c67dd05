//go:build !linux

package link

import (
	"context"
	"runtime"
)

func watch(_ context.Context, l *Link, _ []string) {
	l.publish(Unknown, "links are not watched on "+runtime.GOOS, false)
}
