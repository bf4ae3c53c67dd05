package selfreport

import (
	"context"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// firstSite is how long after the start the first record of a site is made: by then the watch and the receivers have shown how they are.
	firstSite = time.Minute
	// scarceSite is the least time between two records while the link's budget is used up.
	scarceSite = time.Hour
)

// Site puts a record of how the site stands into the queues of the receivers that are engines, every fleet.every. One that still waits there is
// replaced, so an outage adds nothing to the spool. record returns it, and whether the link's budget is used up. It returns nil when ctx
// ends.
func (r *Reporter) Site(ctx context.Context, settings Settings, record func() (text string, scarce bool, err error)) error {
	next := time.Now().Add(firstSite)
	for {
		c, reloaded := settings()
		pause := idleWait
		if engines := c.Engines(); c.Fleet.Every > 0 && len(engines) > 0 {
			if pause = min(idleWait, time.Until(next)); pause <= 0 {
				pause = c.Fleet.Every
				text, scarce, err := record()
				if err == nil {
					err = r.Tell(notify.SiteStatus, text, engines...)
				}
				if err != nil {
					r.Logger.Error("the engines cannot be told how the site stands", "err", err)
				}
				if scarce {
					pause = max(pause, scarceSite)
				}
				next = time.Now().Add(pause)
			}
		}
		if _, err := retry.WaitOr(ctx, pause, nil, reloaded); err != nil {
			return nil
		}
	}
}
