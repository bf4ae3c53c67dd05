package notify

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// Answer is what a receiver answered.
type Answer struct {
	// Status is the HTTP status, Header that of the answer.
	Status int
	Header http.Header
	// Body is the beginning of the body, at most 64 KiB.
	Body []byte
	// Broken is set if the body could not be read to its end. A verdict in the body is then unknown.
	Broken *Error
	// Date is the server's clock and At is ours at the same time; Date is zero if it was not told.
	Date, At time.Time
	redact   func(string) string
	// doubt is called when the answer is not the receiver's.
	doubt func(wrong bool)
	// proxied is set if a proxy stands before the URL.
	proxied bool
}

// IsHTML recognizes a page for people, such as that of a captive portal or a proxy, where a status alone would be believed.
// Nobody asked for an encoded body, so an encoded one is what its Content-Type says.
func (a *Answer) IsHTML() bool {
	kind := strings.ToLower(a.Header.Get("Content-Type"))
	if encoding := a.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return strings.Contains(kind, "html")
	}
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(a.Body), "\uFEFF")))
	if !strings.HasPrefix(text, "<") {
		return false
	}
	isXML := strings.HasPrefix(text, "<?xml") || strings.Contains(kind, "xml") && !strings.Contains(kind, "html")
	return !isXML || strings.Contains(text, "<html")
}

// Fail describes an answer that is not a yes.
func (a *Answer) Fail(outcome Outcome, code, format string, args ...any) *Error {
	kept := a.Body[:min(len(a.Body), maxAnswerKept)]
	return &Error{
		Outcome:    outcome,
		Status:     a.Status,
		Code:       code,
		Reason:     a.redact(fmt.Sprintf(format, args...)),
		RetryAfter: a.retryAfter(),
		Answer:     []byte(untrusted.CutBytes(a.redact(strings.ToValidUTF8(string(kept), "\uFFFD")), maxAnswerKept)),
	}
}

// Foreign judges an answer that is not in the platform's own words where such words are due. It proves nothing about the
// message, so nothing is thrown away for it: a captive portal or a proxy may have written it.
func (a *Answer) Foreign(platform string) *Error {
	if e := a.unavailable(platform); e != nil {
		return e
	}
	a.doubt(true)
	return a.Fail(Retry, "", "the answer is not that of %s (perhaps a captive portal or a proxy)", platform)
}

// unavailable judges what means the same for every platform, whoever answers; nil where it does not.
func (a *Answer) unavailable(platform string) *Error {
	switch s := a.Status; {
	case s == http.StatusProxyAuthRequired && a.proxied:
		return (&proxyRefusal{s}).failure()
	case s/100 == 3:
		a.doubt(true)
		return a.Fail(Retry, "", "redirected, perhaps by a captive portal; a redirect is not followed")
	case s == http.StatusTooManyRequests:
		return a.Fail(Retry, "", "%s asks for fewer requests", platform)
	case s == http.StatusRequestTimeout, s/100 == 5 && s != http.StatusNetworkAuthenticationRequired:
		return a.Fail(Retry, "", "%s is not available", platform)
	}
	return nil
}

// ByStatus judges an answer that is not a yes where the status is the verdict. A refusal of this message is believed only from
// a program: a page for people may be a captive portal's.
func (a *Answer) ByStatus(platform string) *Error {
	if e := a.unavailable(platform); e != nil {
		return e
	}
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed:
		if a.IsHTML() {
			a.doubt(true)
		}
		return a.Fail(BadTarget, "", "%s refuses every message at this URL", platform)
	case http.StatusPaymentRequired, http.StatusProxyAuthRequired, http.StatusTooEarly, http.StatusUnavailableForLegalReasons:
		// Never about this message.
		return a.Foreign(platform)
	}
	switch {
	case a.Status/100 != 4 || a.IsHTML():
		return a.Foreign(platform)
	case a.Status == http.StatusRequestEntityTooLarge:
		return a.Fail(BadPayload, "", "%s refused the message as too large", platform)
	}
	return a.Fail(BadPayload, "", "%s refused the message", platform)
}

// retryAfter returns what the answer asks for: Retry-After in seconds or as a date, or the reset of Feishu's gateway.
func (a *Answer) retryAfter() time.Duration {
	for _, name := range []string{"Retry-After", "X-Ogw-Ratelimit-Reset"} {
		text := strings.TrimSpace(a.Header.Get(name))
		if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
			return ClampRetryAfter(seconds)
		}
		if at, err := http.ParseTime(text); err == nil {
			now := a.At
			if !a.Date.IsZero() {
				// The date is by the server's clock.
				now = a.Date
			}
			return min(max(0, at.Sub(now)), maxRetryAfter)
		}
	}
	return 0
}

// ClampRetryAfter is a wait in seconds, at most the hour that a receiver can ask for.
func ClampRetryAfter(seconds uint64) time.Duration {
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
}

// AtLeast makes a wait at least as long as the platform's throttling is known to last.
func (e *Error) AtLeast(wait time.Duration) *Error {
	e.RetryAfter = max(e.RetryAfter, wait)
	return e
}

// Scalar is a scalar of an answer as an error shows it.
func Scalar(v any) string {
	switch v := v.(type) {
	case string:
		return untrusted.CutRunes(untrusted.CleanLine(v), 64)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
