package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
)

// Client asks for events. Its methods may be called from any goroutine; all requests share one HTTP/2 connection.
type Client struct {
	connect func() (Connection, error)
	stall   time.Duration

	// mu guards current.
	mu      sync.Mutex
	current Connection
}

// New returns a Client that asks as o says. An error says which file or which of its entries is wrong.
func New(o Options) (*Client, error) {
	return NewWith(func() (Connection, error) { return Connect(o) }, o.withDefaults().Stall)
}

// NewWith returns a Client that asks over what connect returns, and again after Refresh.
func NewWith(connect func() (Connection, error), stall time.Duration) (*Client, error) {
	current, err := connect()
	if err != nil {
		return nil, err
	}
	return &Client{connect: connect, stall: stall, current: current}, nil
}

// Refresh reads the kubeconfig again. K3s writes a new one with new certificates when it starts, and the old ones end.
func (c *Client) Refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh, err := c.connect()
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(fresh.Config, c.current.Config) {
		c.current.CloseIdle()
		c.current = fresh
	}
	return nil
}

// Get asks for the events of a namespace, "" for all, and returns an answer that says 200 OK, which the caller closes. Any other answer
// is an *Error. The answer's header has to come within the stall time, else the error is ErrStalled.
func (c *Client) Get(ctx context.Context, namespace string, query url.Values) (*Answer, error) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()

	u := current.Base
	if namespace != "" {
		u = u.JoinPath("namespaces", url.PathEscape(namespace))
	}
	u = u.JoinPath("events")
	u.RawQuery = query.Encode()

	ctx, cancel := context.WithCancelCause(ctx)
	a := &Answer{ctx: ctx, cancel: cancel, stall: c.stall}
	a.watchdog = time.AfterFunc(c.stall, func() { cancel(ErrStalled) })
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := current.Client.Do(request) //nolint:bodyclose // The answer owns the body; its close closes it.
	a.watchdog.Stop()
	if err != nil {
		// The URL, with its long continue token, says nothing new.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		err = a.why(err)
		a.Close()
		return nil, err
	}
	a.body = response.Body
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.Date = date
	}
	if response.StatusCode != http.StatusOK {
		defer a.Close()
		return nil, a.refusal(response)
	}
	return a, nil
}

// Answer is the body of an answer. It belongs to one goroutine.
type Answer struct {
	// Date is the API server's clock when it began to answer; the zero time where it did not say.
	Date time.Time

	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	stall    time.Duration
	body     io.ReadCloser
	// endless is set for a watch, which is silent while nothing happens.
	endless bool
}

// EndAfter makes it an answer without an end of its own, such as a watch's: it may be silent for any time. After d it ends with
// ErrOverdue.
func (a *Answer) EndAfter(d time.Duration) {
	a.endless = true
	a.watchdog = time.AfterFunc(d, func() { a.cancel(ErrOverdue) })
}

// Read fails with ErrStalled if nothing arrives for the stall time. The time between reads does not count, because the sink may wait.
func (a *Answer) Read(p []byte) (int, error) {
	if !a.endless {
		a.watchdog.Reset(a.stall)
		defer a.watchdog.Stop()
	}
	n, err := a.body.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is the bare io.EOF.
		err = a.why(err)
	}
	return n, err
}

// why replaces the error of a request that was given up with the reason.
func (a *Answer) why(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return err
}

// Close ends the request.
func (a *Answer) Close() {
	a.watchdog.Stop()
	a.cancel(nil)
	if a.body != nil {
		_ = a.body.Close()
	}
}

// refusal is the error of an answer that is not 200 OK.
func (a *Answer) refusal(response *http.Response) error {
	refusal := &Error{Code: response.StatusCode}
	body, err := io.ReadAll(io.LimitReader(a, MaxErrorBody))
	if err != nil {
		return fmt.Errorf("read %d answer: %w", response.StatusCode, err)
	}
	var s wireStatus
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		refusal.fill(&s)
	} else {
		refusal.Message = stream.Text(strings.TrimSpace(strings.ToValidUTF8(string(body), "\uFFFD")))
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		refusal.retryAfter(seconds)
	}
	return refusal
}
