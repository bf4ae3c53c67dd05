package deliver

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/deliver/suspect"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
)

// SetAside sets an incident aside that has failed often and is due now. It is called before Run.
func SetAside(d *Delivery, e *inbox.Entry) {
	a, _ := d.doubt.asides.Hold(keyOf(e), e, &notify.Error{Reason: "refused"}, true, suspect.MaxTries)
	a.Next = time.Now()
}

// TrySimply has the incident under the key sent next, in the simplest form of a message that was refused. It is called before Run.
func TrySimply(d *Delivery, key []byte) {
	d.doubt.form = notify.Simple
	d.doubt.narrow.Halve([]inbox.Entry{{Key: key}})
}

// MaxRefused is how many messages in a row are given up before the receiver itself is blamed.
const MaxRefused = maxRefused
