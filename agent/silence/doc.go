// Package silence keeps silences with Alertmanager's words and meaning: matchers, a start, an end, a creator and a comment. They are
// stored as values of the spool, at most 200 of at most 4 KiB each, and outlive a restart; those that are over are kept for 120 hours.
//
// A silence holds the incidents back that all its matchers match, from its start up to its end. It never holds what is critical, unless it says
// so, and never what the agent tells of itself. What it holds is not lost: it waits in the receivers' queues, and a [Tally] of it is told at the
// end.
//
// Source: prometheus/alertmanager 0.25.0, silence/silence.go, cli/silence_add.go, api/v2/openapi.yaml.
package silence
