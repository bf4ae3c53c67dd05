package silence

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// maxMatchers bounds the matchers of a silence, each of which is asked for each incident.
	maxMatchers = 16
	// maxCreator and maxComment bound texts that are shown with it, in bytes.
	maxCreator = 128
	maxComment = 1024
	// latest is the end of what JSON and RFC 3339 can write.
	latest = 9999
)

// The states of a silence.
const (
	Pending = "pending"
	Active  = "active"
	Expired = "expired"
)

// Silence holds incidents back for a time. Its JSON is what Alertmanager's API shows of one, less the status, which is a matter of the
// time, and with critical.
type Silence struct {
	// ID is a UUID.
	ID       string       `json:"id"`
	Matchers matcher.List `json:"matchers"`
	StartsAt time.Time    `json:"startsAt"`
	// EndsAt is when it no longer holds anything.
	EndsAt    time.Time `json:"endsAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	// Critical says that it holds critical incidents too.
	Critical bool `json:"critical,omitempty"`
}

// State returns pending, active or expired.
func (s *Silence) State(now time.Time) string {
	switch {
	case now.Before(s.StartsAt):
		return Pending
	case now.Before(s.EndsAt):
		return Active
	}
	return Expired
}

// Covers reports whether the silence means the subject, whatever the time.
func (s *Silence) Covers(subject *matcher.Subject) bool {
	return !subject.Incident.Own && (s.Critical || subject.Severity != notify.Critical) && s.Matchers.Match(subject)
}

// Short is the beginning of the ID by which people speak of the silence.
func (s *Silence) Short() string { return s.ID[:min(len(s.ID), 8)] }

// check says what is wrong with a new silence.
func (s *Silence) check(now time.Time) error {
	switch {
	case len(s.Matchers) == 0, slices.Contains(s.Matchers, nil):
		return errors.New("no matchers specified; write what is to be silent, such as reason=BackOff")
	case len(s.Matchers) > maxMatchers:
		return fmt.Errorf("must have at most %d matchers, not %d", maxMatchers, len(s.Matchers))
	case s.Matchers.MatchesNothingSet():
		return errors.New("at least one matcher must not match the empty text: these would silence everything")
	case !now.Before(s.EndsAt):
		return errors.New("a silence cannot end in the past")
	case !s.StartsAt.Before(s.EndsAt):
		return errors.New("a silence cannot end before it starts")
	case s.EndsAt.Year() > latest || s.StartsAt.Year() < 0:
		return fmt.Errorf("a silence must end by the year %d", latest)
	case strings.TrimSpace(s.Comment) == "":
		return errors.New("comment required; say why, for whoever wonders at night")
	}
	return errors.Join(checkText("comment", s.Comment, maxComment), checkText("creator", s.CreatedBy, maxCreator))
}

func checkText(name, text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("the %s must be at most %d bytes, not %d", name, most, len(text))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("the %s must be one line of text", name)
	}
	return nil
}

// newID returns a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	// It cannot fail: without random numbers the program ends.
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
