package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Alertmanager takes alerts at /api/v2/alerts. It keeps them by their labels, and stores the valid ones of a request that it refuses.
type Alertmanager struct {
	mu     sync.Mutex
	alerts map[string]Alert
}

// Alert is an alert as Alertmanager keeps it.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// TooFast is 503: Alertmanager has no rate limit.
func (*Alertmanager) TooFast() Answer { return Answer{Status: http.StatusServiceUnavailable} }

// Alerts returns the stored alerts, sorted by their labels.
func (p *Alertmanager) Alerts() []Alert {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]string, 0, len(p.alerts))
	for key := range p.alerts {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	all := make([]Alert, 0, len(keys))
	for _, key := range keys {
		all = append(all, p.alerts[key])
	}
	return all
}

// Refusal is 401, of a proxy in front of it.
func (*Alertmanager) Refusal() Answer { return Answer{Status: http.StatusUnauthorized} }

// Judge checks a request.
func (p *Alertmanager) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	switch {
	case !strings.HasSuffix(r.URL.Path, "/api/v2/alerts"):
		return Answer{Status: http.StatusNotFound, Body: "404 page not found"}, false
	case r.Method != http.MethodPost:
		return Answer{Status: http.StatusMethodNotAllowed}, false
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return Answer{Status: http.StatusUnsupportedMediaType}, false
	}
	var alerts []Alert
	if err := json.Unmarshal(body, &alerts); err != nil {
		return Answer{Status: http.StatusBadRequest, Body: fmt.Sprintf(`{"code":400,"message":"parsing alerts body from \"\" failed, because %s"}`, err)}, false
	}
	var mistakes []string
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alerts == nil {
		p.alerts = make(map[string]Alert)
	}
	for _, a := range alerts {
		if mistake := a.mistake(now); mistake != "" {
			mistakes = append(mistakes, mistake)
			continue
		}
		p.alerts[fmt.Sprint(a.Labels)] = a
	}
	if len(mistakes) > 0 {
		text, _ := json.Marshal(strings.Join(mistakes, "; "))
		return Answer{Status: http.StatusBadRequest, Body: string(text)}, false
	}
	return Answer{}, true
}

// mistake is what Alertmanager's validation says.
func (a *Alert) mistake(now time.Time) string {
	if a.StartsAt.IsZero() {
		a.StartsAt = now
	}
	if a.EndsAt.IsZero() {
		a.EndsAt = now.Add(5 * time.Minute)
	}
	labels := 0
	for name, value := range a.Labels {
		if value != "" {
			labels++
		}
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name[0] >= '0' && name[0] <= '9' {
			return fmt.Sprintf("invalid label set: invalid name %q", name)
		}
		if !utf8.ValidString(value) {
			return fmt.Sprintf("invalid label set: invalid value %q", value)
		}
	}
	switch {
	case labels == 0:
		return "at least one label pair required"
	case a.EndsAt.Before(a.StartsAt):
		return "start time must be before end time"
	}
	return ""
}
