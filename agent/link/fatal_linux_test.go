package link

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"
)

// TestLostEventsDoNotEndTheWatch: where events were lost, or one could not be read, the tables tell all of them.
func TestLostEventsDoNotEndTheWatch(t *testing.T) {
	for err, want := range map[error]bool{
		&netlink.OpError{Op: "receive", Err: os.NewSyscallError("recvmsg", syscall.ENOBUFS)}: false,
		&netlink.OpError{Op: "receive", Err: errors.New("message is cut short")}:             false,
		&netlink.OpError{Op: "receive", Err: os.NewSyscallError("recvmsg", syscall.EBADF)}:   true,
		&netlink.OpError{Op: "receive", Err: os.ErrClosed}:                                   true,
	} {
		if got := fatal(err); got != want {
			t.Errorf("%v ends the watch: %v, want %v", err, got, want)
		}
	}
}
