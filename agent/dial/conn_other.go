//go:build !linux

package dial

import (
	"net"
	"time"
)

func giveUpAfter(net.Conn, time.Duration) {}
