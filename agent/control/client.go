package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// ErrDenied is returned when there is a socket and this user may not ask at it.
var ErrDenied = errors.New("cannot ask the agent: permission denied; run it with sudo, or see server.socketGroup")

// ErrNotRunning is returned when no agent listens on the socket.
var ErrNotRunning = errors.New("no agent is running here")

// Client asks the agent that listens on a socket. It implements Queues.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client for the socket at path. It connects at the first call.
func NewClient(path string) *Client {
	return &Client{path: path, http: &http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
			},
			DisableCompression: true,
		},
	}}
}

// Close releases the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the agent stands. It returns ErrNotRunning when there is none.
func (c *Client) Status(ctx context.Context) (status.Document, error) {
	return call[status.Document](ctx, c, http.MethodGet, "/status", nil)
}

// Entries asks for a page of entries.
func (c *Client) Entries(ctx context.Context, q Query) (Page, error) {
	return call[Page](ctx, c, http.MethodPost, "/entries", q)
}

// Retry asks to make entries due at once.
func (c *Client) Retry(ctx context.Context, s Selection) (Result, error) {
	return call[Result](ctx, c, http.MethodPost, "/retry", s)
}

// Drop asks to remove entries for good.
func (c *Client) Drop(ctx context.Context, s Selection) (Result, error) {
	return call[Result](ctx, c, http.MethodPost, "/drop", s)
}

// remoteError is an error of the agent. Its text is the agent's own.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func call[Out any](ctx context.Context, c *Client, method, path string, in any) (out Out, err error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return out, fmt.Errorf("ask the agent: %w", err)
	}
	answer, err := c.http.Do(request)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return out, fmt.Errorf("%w: nobody listens on %s", ErrNotRunning, c.path)
	case errors.Is(err, os.ErrPermission):
		return out, ErrDenied
	case err != nil:
		return out, fmt.Errorf("ask the agent: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&f); err != nil {
			return out, fmt.Errorf("ask the agent: HTTP status %d", answer.StatusCode)
		}
		return out, &remoteError{text: f.Error, kind: kinds()[f.Kind]}
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("decode the agent's answer: %w", err)
	}
	return out, nil
}
