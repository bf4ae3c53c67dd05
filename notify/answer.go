package notify

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what came back.
type answer struct {
	status int
	header http.Header
	// body is the beginning of the body, at most 64 KiB.
	body []byte
	// broken is set if the body could not be read to its end. A verdict in the body is then unknown.
	broken *Error
	// date is the server's clock and at is ours at the same time; date is zero if it was not told.
	date, at time.Time
	redact   func(string) string
	// doubt is called when the answer is not the receiver's.
	doubt func(wrong bool)
	// proxied is set if a proxy stands before the URL.
	proxied bool
}

// isHTML recognizes a page for people, such as that of a captive portal or a proxy, where a status alone would be believed.
// Nobody asked for an encoded body, so an encoded one is what its Content-Type says.
func (a *answer) isHTML() bool {
	kind := strings.ToLower(a.header.Get("Content-Type"))
	if encoding := a.header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return strings.Contains(kind, "html")
	}
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(a.body), "\uFEFF")))
	if !strings.HasPrefix(text, "<") {
		return false
	}
	isXML := strings.HasPrefix(text, "<?xml") || strings.Contains(kind, "xml") && !strings.Contains(kind, "html")
	return !isXML || strings.Contains(text, "<html")
}

// fail describes an answer that is not a yes.
func (a *answer) fail(outcome Outcome, code, format string, args ...any) *Error {
	kept := a.body[:min(len(a.body), maxAnswerKept)]
	return &Error{
		Outcome:    outcome,
		Status:     a.status,
		Code:       code,
		Reason:     a.redact(fmt.Sprintf(format, args...)),
		RetryAfter: a.retryAfter(),
		Answer:     []byte(cutBytes(a.redact(strings.ToValidUTF8(string(kept), "\uFFFD")), maxAnswerKept)),
	}
}

// foreign judges an answer that is not in the platform's own words where such words are due. It proves nothing about the
// message, so nothing is thrown away for it: a captive portal or a proxy may have written it.
func (a *answer) foreign(platform string) *Error {
	if e := a.unavailable(platform); e != nil {
		return e
	}
	a.doubt(true)
	return a.fail(Retry, "", "the answer is not that of %s (perhaps a captive portal or a proxy)", platform)
}

// unavailable judges what means the same for every platform, whoever answers; nil where it does not.
func (a *answer) unavailable(platform string) *Error {
	switch s := a.status; {
	case s == http.StatusProxyAuthRequired && a.proxied:
		return (&proxyRefusal{s}).failure()
	case s/100 == 3:
		a.doubt(true)
		return a.fail(Retry, "", "redirected, perhaps by a captive portal; a redirect is not followed")
	case s == http.StatusTooManyRequests:
		return a.fail(Retry, "", "%s asks for fewer requests", platform)
	case s == http.StatusRequestTimeout, s/100 == 5 && s != http.StatusNetworkAuthenticationRequired:
		return a.fail(Retry, "", "%s is not available", platform)
	}
	return nil
}

// byStatus judges an answer that is not a yes where the status is the verdict. A refusal of this message is believed only from
// a program: a page for people may be a captive portal's.
func (a *answer) byStatus(platform string) *Error {
	if e := a.unavailable(platform); e != nil {
		return e
	}
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed:
		if a.isHTML() {
			a.doubt(true)
		}
		return a.fail(BadTarget, "", "%s refuses every message at this URL", platform)
	case http.StatusPaymentRequired, http.StatusProxyAuthRequired, http.StatusTooEarly, http.StatusUnavailableForLegalReasons:
		// Never about this message.
		return a.foreign(platform)
	}
	switch {
	case a.status/100 != 4 || a.isHTML():
		return a.foreign(platform)
	case a.status == http.StatusRequestEntityTooLarge:
		return a.fail(BadPayload, "", "%s refused the message as too large", platform)
	}
	return a.fail(BadPayload, "", "%s refused the message", platform)
}

// retryAfter returns what the answer asks for: Retry-After in seconds or as a date, or the reset of Feishu's gateway.
func (a *answer) retryAfter() time.Duration {
	for _, name := range []string{"Retry-After", "X-Ogw-Ratelimit-Reset"} {
		text := strings.TrimSpace(a.header.Get(name))
		if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
			return clampRetryAfter(seconds)
		}
		if at, err := http.ParseTime(text); err == nil {
			now := a.at
			if !a.date.IsZero() {
				// The date is by the server's clock.
				now = a.date
			}
			return min(max(0, at.Sub(now)), maxRetryAfter)
		}
	}
	return 0
}

func clampRetryAfter(seconds uint64) time.Duration {
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
}
