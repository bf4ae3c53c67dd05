package influxdb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
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
	var losses bytes.Buffer
	for i := range m.Losses[:min(len(m.Losses), notify.MaxLosses)] {
		losses.Write(r.loss(&m.Losses[i], m.Now))
	}
	limit := int(r.config.Batch.MaxBytes) - losses.Len()
	var body bytes.Buffer
	n := 0
	for i := range m.Incidents[:min(len(m.Incidents), r.config.Batch.Max)] {
		// Half of the limit for the message: a backslash before each byte makes it the whole, and the rest is bounded by 8 KiB.
		line := r.point(&m.Incidents[i], max(0, limit/2-4<<10))
		if n > 0 && body.Len()+len(line) > limit {
			break
		}
		body.Write(line)
		n++
	}
	body.Write(losses.Bytes())
	return &notify.Request{
		Method: http.MethodPost, Header: map[string]string{"Content-Type": "text/plain; charset=utf-8"}, Body: body.Bytes(), Incidents: n,
		Time: m.Now, Losses: m.LossesIn(notify.LossesWhole),
	}, nil
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
	text, err := r.config.URL.Read()
	if err != nil {
		return notify.Target{}, &notify.Error{Outcome: notify.BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	u, err := url.Parse(text)
	if err != nil {
		// The text of err holds the URL.
		return notify.Target{}, &notify.Error{Outcome: notify.BadTarget, Reason: "the URL is not valid"}
	}
	query := u.Query()
	switch r.config.API {
	case "1":
		u = u.JoinPath("write")
		query.Set("db", r.config.Database)
		if r.config.RetentionPolicy != "" {
			query.Set("rp", r.config.RetentionPolicy)
		}
		query.Set("precision", "ns")
	case "2":
		u = u.JoinPath("api", "v2", "write")
		query.Set("org", r.config.Organization)
		query.Set("bucket", r.config.Bucket)
		query.Set("precision", "ns")
	default:
		u = u.JoinPath("api", "v3", "write_lp")
		query.Set("db", r.config.Database)
		// Its default guesses the unit by the size of the number.
		query.Set("precision", "nanosecond")
	}
	u.RawQuery = query.Encode()
	return r.authorized(u.String())
}

func (r *receiver) authorized(text string) (notify.Target, error) {
	to := notify.Target{URL: text, Header: make(map[string]notify.Secret, len(r.config.Headers)+1)}
	maps.Copy(to.Header, r.config.Headers)
	secret, scheme := r.config.Token, map[string]string{"2": "Token ", "3": "Bearer "}[r.config.API]
	if r.config.User != "" {
		secret = r.config.Password
	}
	if secret.IsZero() {
		return to, nil
	}
	value, err := secret.Read()
	if err != nil {
		return to, &notify.Error{Outcome: notify.BadTarget, Reason: "token or password cannot be read", Err: err}
	}
	if r.config.User != "" {
		scheme, value = "Basic ", base64.StdEncoding.EncodeToString([]byte(r.config.User+":"+value))
	}
	to.Header["Authorization"] = notify.SecretValue(scheme + value)
	return to, nil
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
