package receivers

import (
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/intake"
)

// Rules returns what the configuration says happens to events.
func Rules(c *config.Config) (intake.Rules, error) {
	events, err := filter.New(c.Filter)
	if err != nil {
		return intake.Rules{}, fmt.Errorf("filter: %w", err)
	}
	rules := intake.Rules{Filter: events, Daily: c.Report.At != ""}
	for i := range c.Receivers {
		r := &c.Receivers[i]
		matcher, err := filter.NewMatcher(r.Match)
		if err != nil {
			return intake.Rules{}, fmt.Errorf("receiver %s: match: %w", r.Name, err)
		}
		rules.Routes = append(rules.Routes, intake.Route{Receiver: r.Name, Match: matcher, Policy: policyOf(r)})
	}
	return rules, nil
}
