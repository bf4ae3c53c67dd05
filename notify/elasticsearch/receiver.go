package elasticsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// contentType must be exactly this: VictoriaLogs answers 200 to others and stores nothing.
const contentType = "application/x-ndjson"

type receiver struct {
	*notify.Poster

	config *Config
	common notify.Common
	// inFailureStore is set while documents land in the failure store, so that it is logged once.
	inFailureStore bool
}

// detailed is up to how many documents the answer is asked for the reason of each refusal, some 500 bytes: an answer is read up to
// 64 KiB. A document that fails among more is sent alone in the end, and has its reason then.
const detailed = 20

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	poster := notify.NewPoster(common, notify.PosterOptions{Gzip: c.Gzip, URL: c.URL, Secrets: []notify.Secret{c.APIKey, c.Password}})
	return &receiver{Poster: poster, config: c, common: common}, nil
}

// Limits bounds a batch by the configuration.
func (r *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: r.config.Batch.Max, BatchBytes: r.config.Batch.MaxBytes, OldestFirst: true}
}

// Render builds a bulk request: a document for each incident, and then one for each loss. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	return record.Lines(m, r.config.Batch, contentType, r.encode, func(l *notify.Loss) []byte { return r.encodeLoss(l, m.Now) }), nil
}

// Send posts the request to the index's _bulk.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	documents := bytes.Count(request.Body, []byte("\n")) / 2
	to, err := r.target(documents)
	if err != nil {
		return err
	}
	return r.Exchange(ctx, to, request, func(a *notify.Answer) error { return r.verdict(a, request.Incidents, documents) })
}

func (r *receiver) target(documents int) (notify.Target, error) {
	to, err := notify.TargetOf(r.config.URL, r.config.Headers)
	if err != nil {
		return to, err
	}
	paths := "err*,items.*.status,items.*.error.type,items.*.failure_store"
	if documents <= detailed {
		paths = "err*,items.*.status,items.*.error.*,items.*.failure_store"
	}
	to, err = to.Edited(func(u *url.URL) *url.URL {
		if r.config.Index != "" {
			u = u.JoinPath(r.config.Index)
		}
		u = u.JoinPath("_bulk")
		// As it is: escapes would make each comma and each star three bytes, and a query may hold both (RFC 3986, 3.4).
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&filter_path="+paths, "&")
		return u
	})
	if err != nil {
		return to, err
	}
	if r.config.User != "" {
		return to.Authorized("", r.config.User, r.config.Password, "password")
	}
	return to.Authorized("ApiKey", "", r.config.APIKey, "apiKey")
}

// reply is the answer to a bulk request. Errors is a pointer because an answer without it is not Elasticsearch's.
type reply struct {
	Errors *bool                    `json:"errors"`
	Items  []map[string]itemVerdict `json:"items"`
	Error  json.RawMessage          `json:"error"`
}

type itemVerdict struct {
	Status int `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
	FailureStore string `json:"failure_store"`
}

// verdict judges each item. documents counts those of the request, of which the first ones are its incidents.
func (r *receiver) verdict(a *notify.Answer, incidents, documents int) error {
	if a.Broken != nil {
		return a.Broken
	}
	var judged reply
	err := json.Unmarshal(a.Body, &judged)
	switch {
	case a.Status != http.StatusOK:
		return wholeRefused(a, &judged)
	case err != nil || judged.Errors == nil:
		return a.Foreign("Elasticsearch")
	case len(judged.Items) != documents:
		return a.Fail(notify.Retry, "", "the answer judges %d of %d documents", len(judged.Items), documents)
	}
	r.noteFailureStore(judged.Items)
	return judge(a, judged.Items, incidents)
}

// noteFailureStore warns when documents begin to land in the data stream's failure store: they are kept, but nobody looks there.
func (r *receiver) noteFailureStore(items []map[string]itemVerdict) {
	used := slices.ContainsFunc(items, func(item map[string]itemVerdict) bool { return item["create"].FailureStore == "used" })
	if used && !r.inFailureStore && r.common.Logger != nil {
		r.common.Logger.Warn("documents go to the failure store of the data stream: its mapping refuses them", "index", r.config.Index)
	}
	r.inFailureStore = used
}

// wholeRefused judges an answer that is about the request, not its items.
func wholeRefused(a *notify.Answer, r *reply) error {
	var reason struct {
		Type, Reason string
	}
	// An error is an object, or a text.
	_ = json.Unmarshal(r.Error, &reason)
	text := untrusted.Quoted(reason.Reason)
	switch s := a.Status; {
	case s == http.StatusBadRequest && reason.Type != "":
		return a.Fail(notify.BadPayload, untrusted.Line(reason.Type, 64), "Elasticsearch refused the request: %s", text)
	case (s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusNotFound) && len(r.Error) > 0:
		return a.Fail(notify.BadTarget, untrusted.Line(reason.Type, 64), "Elasticsearch refuses every document: %s", text)
	}
	if a.Status == http.StatusRequestEntityTooLarge {
		// Refused before it was read, without a word.
		return a.ByStatus("Elasticsearch")
	}
	return a.Foreign("Elasticsearch")
}

// judge sums up the items: what was not taken, and the outcome of each of those.
func judge(a *notify.Answer, items []map[string]itemVerdict, incidents int) error {
	tally := notify.NewTally(incidents)
	var worst itemVerdict
	for i, item := range items {
		v, ok := item["create"]
		o, taken := itemOutcome(&v)
		switch {
		case ok && taken:
			continue
		case !ok:
			o = notify.Retry
		}
		if tally.Fail(i, o, false) {
			worst = v
		}
	}
	if tally.Failed() == 0 {
		return nil
	}
	code := untrusted.Line(worst.Error.Type, 64)
	if code == "" {
		code = strconv.Itoa(worst.Status)
	}
	e := a.Fail(notify.Retry, code, "%d of %d documents were not stored: %s", tally.Failed(), len(items), untrusted.Quoted(worst.Error.Reason))
	tally.Settle(e)
	return e
}

// itemOutcome says what the verdict of an item means, and whether the document is stored.
func itemOutcome(v *itemVerdict) (o notify.Outcome, taken bool) {
	switch s := v.Status; {
	case s/100 == 2, s == http.StatusConflict:
		// A conflict proves that the document is there: its ID is that of its content. What went to the failure store is kept too.
		return 0, true
	case s == http.StatusTooManyRequests, s/100 == 5, s == 0:
		return notify.Retry, false
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound:
		return notify.BadTarget, false
	}
	return notify.BadPayload, false
}
