package influxdb

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

type receiver struct {
	*notify.Poster

	config *Config
	common notify.Common
	// tags are the cluster and the configured labels, by their keys.
	tags []tag
}

type tag struct{ key, value string }

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	poster := notify.NewPoster(common, notify.PosterOptions{Gzip: c.Gzip, URL: c.URL, Secrets: []notify.Secret{c.Token, c.Password}})
	r := &receiver{Poster: poster, config: c, common: common, tags: []tag{{"cluster", common.Cluster}}}
	for key, value := range common.Labels {
		// A tag and a field must not have one name, and time is no name at all.
		if !slices.Contains(reserved(), key) && !strings.HasPrefix(key, sitePrefix) {
			r.tags = append(r.tags, tag{key, value})
		}
	}
	slices.SortFunc(r.tags, func(a, b tag) int { return strings.Compare(a.key, b.key) })
	return r, nil
}

func reserved() []string {
	return []string{
		"cluster", "kind", "namespace", "reason", "severity", "cause", "time", "count", "occurrences", "lost", "message", "name", "workload",
		"component", "host", "uid", "id",
	}
}

// Limits bounds a batch by the configuration.
func (r *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: r.config.Batch.Max, BatchBytes: r.config.Batch.MaxBytes, OldestFirst: true}
}

// Render writes a point for each incident, and one for each loss. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	return record.Lines(m, r.config.Batch, "text/plain; charset=utf-8", func(in *notify.Incident, limit int) []byte {
		// Half of the limit for the message: a backslash before each byte makes it the whole, and the rest is bounded by 8 KiB.
		return r.point(in, max(0, limit/2-4<<10))
	}, func(l *notify.Loss) []byte { return r.loss(l, m.Now) }), nil
}

// Send posts the points.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	to, err := r.target()
	if err != nil {
		return err
	}
	return r.Exchange(ctx, to, request, r.verdict)
}

func (r *receiver) target() (notify.Target, error) {
	to, err := notify.TargetOf(r.config.URL, r.config.Headers)
	if err != nil {
		return to, err
	}
	if to, err = to.Edited(r.write); err != nil {
		return to, err
	}
	return to.Authorized(map[string]string{"2": "Token", "3": "Bearer"}[r.config.API], r.config.User, r.secret(), "token or password")
}

// write adds what the API wants behind the server's address.
func (r *receiver) write(u *url.URL) *url.URL {
	query := u.Query()
	query.Set("precision", "ns")
	switch r.config.API {
	case "1":
		u = u.JoinPath("write")
		query.Set("db", r.config.Database)
		if r.config.RetentionPolicy != "" {
			query.Set("rp", r.config.RetentionPolicy)
		}
	case "2":
		u = u.JoinPath("api", "v2", "write")
		query.Set("org", r.config.Organization)
		query.Set("bucket", r.config.Bucket)
	default:
		u = u.JoinPath("api", "v3", "write_lp")
		query.Set("db", r.config.Database)
		// Its default guesses the unit by the size of the number.
		query.Set("precision", "nanosecond")
	}
	u.RawQuery = query.Encode()
	return u
}

func (r *receiver) secret() notify.Secret {
	if r.config.User != "" {
		return r.config.Password
	}
	return r.config.Token
}

// verdict judges the answer. A yes is 204 and nothing else: a portal answers 200.
func (r *receiver) verdict(a *notify.Answer) error {
	if a.Broken != nil {
		return a.Broken
	}
	var reply struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	isReply := json.Unmarshal(a.Body, &reply) == nil && (reply.Message != "" || reply.Error != "") || a.Header.Get("X-Influxdb-Version") != ""
	text := untrusted.Quoted(strings.Join(slices.DeleteFunc([]string{reply.Error, reply.Message}, func(s string) bool { return s == "" }), ": "))
	switch s := a.Status; {
	case s == http.StatusNoContent:
		return nil
	case s/100 == 2, !isReply && s/100 == 4 && s != http.StatusTooManyRequests && s != http.StatusRequestEntityTooLarge:
		return a.Foreign("InfluxDB")
	case s == http.StatusBadRequest, s == http.StatusUnprocessableEntity && r.config.API != "3":
		// The others of the batch may be stored. They are sent again one by one, and overwrite themselves.
		return a.Fail(notify.BadPayload, untrusted.Line(reply.Code, 64), "InfluxDB refused points: %s", text)
	case s == http.StatusUnprocessableEntity, s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound:
		return a.Fail(notify.BadTarget, untrusted.Line(reply.Code, 64), "InfluxDB refuses every point: %s", text)
	}
	return a.ByStatus("InfluxDB")
}
