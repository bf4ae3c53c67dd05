package dial

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
)

const (
	// idleAfter is the pause after which a connection may have died without a word.
	idleAfter = time.Second
	// deadAfter is how long what was sent after such a pause may stay without an acknowledgement of the other side's kernel.
	deadAfter = 5 * time.Second
)

// conn counts what goes over a connection.
type conn struct {
	net.Conn
	count func(budget.Count)
	// opened is when it was opened, used how long after that something last went over it, in nanoseconds.
	opened time.Time
	used   atomic.Int64
}

// Read counts what arrived, also together with an error.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.used.Store(int64(time.Since(c.opened)))
	c.count(budget.Count{In: uint64(max(n, 0))})
	return n, err
}

// Write counts what was handed to the kernel. After a pause it asks the kernel to give the connection up soon if the other
// side acknowledges nothing: a NAT on the way may have forgotten it, and the whole time-out of the attempt would pass.
func (c *conn) Write(p []byte) (int, error) {
	now := time.Since(c.opened)
	if now-time.Duration(c.used.Swap(int64(now))) > idleAfter {
		giveUpAfter(c.Conn, deadAfter)
	}
	n, err := c.Conn.Write(p)
	c.count(budget.Count{Out: uint64(max(n, 0))})
	return n, err
}
