package notifytest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// InfluxDB takes points as InfluxDB 1, 2 and 3 do: a second point of the same measurement, tags and time replaces the first.
type InfluxDB struct {
	// API is 1, 2 or 3.
	API string
	// Token is that of API 2 and 3; empty: nobody is asked.
	Token string
	// Oldest is the time before which points are outside the retention; zero: none are.
	Oldest time.Time

	mu     sync.Mutex
	points map[string]Point
}

// Point is a point as it was parsed.
type Point struct {
	Measurement string
	Tags        map[string]string
	// Fields hold string, int64, float64 or bool.
	Fields map[string]any
	Time   time.Time
}

// Points returns what is stored, by time.
func (p *InfluxDB) Points() []Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Collect(maps.Values(p.points))
	slices.SortFunc(all, func(a, b Point) int { return a.Time.Compare(b.Time) })
	return all
}

// TooFast is the answer of InfluxDB Cloud to a tenant over its limit.
func (*InfluxDB) TooFast() Answer {
	return Answer{
		Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "30"},
		Body: `{"code":"too many requests","message":"org 0123456789abcdef has exceeded limited_write plan limit"}`,
	}
}

// Refusal is the answer to a wrong token.
func (p *InfluxDB) Refusal() Answer {
	if p.API == "1" {
		return Answer{Status: http.StatusUnauthorized, Header: map[string]string{"X-Influxdb-Version": "1.8.10"}, Body: `{"error":"authorization failed"}`}
	}
	return Answer{Status: http.StatusUnauthorized, Body: `{"code":"unauthorized","message":"unauthorized access"}`}
}

// Judge checks a write.
func (p *InfluxDB) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	query := r.URL.Query()
	path, precision, scheme := "/api/v2/write", "ns", "Token "
	target := query.Get("bucket") != "" && query.Get("org") != ""
	switch p.API {
	case "1":
		path, target = "/write", query.Get("db") != ""
	case "3":
		path, precision, scheme, target = "/api/v3/write_lp", "nanosecond", "Bearer ", query.Get("db") != ""
	}
	switch {
	case p.Token != "" && r.Header.Get("Authorization") != scheme+p.Token:
		return p.Refusal(), false
	case r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, path):
		return Answer{Status: http.StatusNotFound, Body: `{"code":"not found","message":"path not found"}`}, false
	case !target:
		return Answer{Status: http.StatusNotFound, Body: `{"code":"not found","message":"bucket not found"}`}, false
	case query.Get("precision") != precision:
		return p.bad(http.StatusBadRequest, "invalid precision")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(string(body))
}

func (p *InfluxDB) bad(status int, message string) (Answer, bool) {
	if p.API == "2" {
		return Answer{Status: status, Body: fmt.Sprintf(`{"code":"invalid","message":%q}`, message)}, false
	}
	return Answer{Status: status, Header: map[string]string{"X-Influxdb-Version": p.API + ".0.0"}, Body: fmt.Sprintf(`{"error":%q}`, message)}, false
}

// write stores the good points of a body, and of version 2 none if one cannot be parsed.
func (p *InfluxDB) write(body string) (Answer, bool) {
	var points []Point
	for line := range strings.Lines(body) {
		point, err := ParseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return p.bad(http.StatusBadRequest, fmt.Sprintf("unable to parse '%.60s': %v", line, err))
		}
		points = append(points, point)
	}
	if p.points == nil {
		p.points = make(map[string]Point)
	}
	dropped := 0
	for _, point := range points {
		if point.Time.Before(p.Oldest) {
			dropped++
			continue
		}
		p.points[fmt.Sprintf("%q %q %d", point.Measurement, point.Tags, point.Time.UnixNano())] = point
	}
	if dropped > 0 {
		status := http.StatusUnprocessableEntity
		if p.API != "2" {
			status = http.StatusBadRequest
		}
		return p.bad(status, fmt.Sprintf("partial write: points beyond retention policy dropped=%d", dropped))
	}
	return Answer{Status: http.StatusNoContent}, true
}

// ParseLine parses a line of the line protocol as strictly as InfluxDB does.
func ParseLine(line string) (Point, error) {
	p := Point{Tags: make(map[string]string), Fields: make(map[string]any)}
	key, rest := untilUnescaped(line, ' ')
	fields, stamp := cutFields(rest)
	name, tags := untilUnescaped(key, ',')
	p.Measurement = unescaped(name, ", ")
	if p.Measurement == "" || fields == "" || stamp == "" {
		return p, fmt.Errorf("missing measurement, fields or time")
	}
	for tags != "" {
		var one string
		one, tags = untilUnescaped(tags, ',')
		k, v := untilUnescaped(one, '=')
		k, v = unescaped(k, ",= "), unescaped(v, ",= ")
		if _, twice := p.Tags[k]; k == "" || v == "" || twice || strings.HasPrefix(k, "_") || k == "time" {
			return p, fmt.Errorf("bad tag %q", one)
		}
		p.Tags[k] = v
	}
	for fields != "" {
		var err error
		if fields, err = p.field(fields); err != nil {
			return p, err
		}
	}
	nanos, err := strconv.ParseInt(stamp, 10, 64)
	p.Time = time.Unix(0, nanos).UTC()
	return p, err
}

// field parses the first field and returns the rest.
func (p *Point) field(text string) (rest string, err error) {
	key, value := untilUnescaped(text, '=')
	key = unescaped(key, ",= ")
	if _, twice := p.Fields[key]; key == "" || twice || key == "time" || p.Tags[key] != "" {
		return "", fmt.Errorf("bad field %q", key)
	}
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		end := endOfString(quoted)
		if end < 0 {
			return "", fmt.Errorf("unbalanced quotes")
		}
		p.Fields[key] = unescaped(quoted[:end], `"\`)
		rest = quoted[end+1:]
		if len(p.Fields[key].(string)) > 64<<10 {
			return "", fmt.Errorf("field %s is too long", key)
		}
		if rest != "" && rest[0] != ',' {
			return "", fmt.Errorf("garbage behind field %s", key)
		}
		return strings.TrimPrefix(rest, ","), nil
	}
	value, rest, _ = strings.Cut(value, ",")
	if digits, ok := strings.CutSuffix(value, "i"); ok {
		p.Fields[key], err = strconv.ParseInt(digits, 10, 64)
		return rest, err
	}
	p.Fields[key], err = strconv.ParseFloat(value, 64)
	return rest, err
}

// cutFields cuts at the last space outside of a string, which is before the time.
func cutFields(text string) (fields, stamp string) {
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			inString = !inString
		case c == ' ' && !inString:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func untilUnescaped(text string, end byte) (before, after string) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case end:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func endOfString(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescaped takes the backslash off that stands before a byte of special; any other stays.
func unescaped(text, special string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(special, text[i+1]) >= 0 {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
