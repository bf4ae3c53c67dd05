package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/spool"
)

// IDs names silences, by their IDs or unambiguous beginnings of them.
type IDs struct {
	IDs []string `json:"ids"`
}

// Silences returns the silences that are kept, those that end first in front.
func (q *SpoolQueues) Silences(_ context.Context, _ struct{}) (all []*silence.Silence, err error) {
	err = q.Spool.View(func(tx *spool.Tx) error {
		// What cannot be read holds nothing, and the agent's log says so.
		all, _ = silence.All(tx)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the silences: %w", err)
	}
	return all, nil
}

// AddSilence stores a silence, and returns it with the ID that it was given.
func (q *SpoolQueues) AddSilence(_ context.Context, s silence.Silence) (silence.Silence, error) {
	err := q.Spool.Update(func(tx *spool.Tx) error { return silence.Add(tx, &s, time.Now()) })
	if err != nil {
		return silence.Silence{}, fmt.Errorf("add silence: %w", err)
	}
	q.silenced()
	return s, nil
}

// ExpireSilences ends silences now, all of them or none.
func (q *SpoolQueues) ExpireSilences(_ context.Context, ids IDs) (expired []*silence.Silence, err error) {
	err = q.Spool.Update(func(tx *spool.Tx) error {
		expired = nil
		for _, id := range ids.IDs {
			s, err := silence.Expire(tx, id, time.Now())
			if err != nil {
				return fmt.Errorf("%w: %s", err, id)
			}
			expired = append(expired, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("expire silence: %w", err)
	}
	q.silenced()
	return expired, nil
}

func (q *SpoolQueues) silenced() {
	if q.Silenced != nil {
		q.Silenced()
	}
}

// Silences asks for the silences that are kept.
func (c *Client) Silences(ctx context.Context, _ struct{}) ([]*silence.Silence, error) {
	return call[[]*silence.Silence](ctx, c, http.MethodPost, "/silences", struct{}{})
}

// AddSilence asks to store a silence.
func (c *Client) AddSilence(ctx context.Context, s silence.Silence) (silence.Silence, error) {
	return call[silence.Silence](ctx, c, http.MethodPost, "/silences/add", s)
}

// ExpireSilences asks to end silences now.
func (c *Client) ExpireSilences(ctx context.Context, ids IDs) ([]*silence.Silence, error) {
	return call[[]*silence.Silence](ctx, c, http.MethodPost, "/silences/expire", ids)
}
