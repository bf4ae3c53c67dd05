package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// MaxConns is how many connections are served at once. One takes about 25 KiB.
	MaxConns = 16
	// maxHeader bounds the header of a request. net/http adds 4 KiB to it.
	maxHeader = 4 << 10
	// Limits of the phases of a connection: the header, the whole request, the answer from the end of the header on, and the wait for a
	// further request where there may be one.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	idleTimeout   = 5 * time.Second
)

// Options are how connections are served.
type Options struct {
	Handler http.Handler
	// KeepAlive lets a connection ask more than once. Without it a connection is closed after its first answer, so nobody can
	// pipeline requests.
	KeepAlive bool
	// WriteTimeout is the limit of an answer. Default: 10s.
	WriteTimeout time.Duration
	// Logger takes what net/http has to say, at level debug: what one client does is no news. Default: none.
	Logger *slog.Logger
}

// connKey is the key of a connection in the context of its requests.
type connKey struct{}

// Serve serves l until ctx ends, and closes l and all connections then.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	limited := newListener(l)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connKey{}).(*conn); ok {
				c.enter(handling)
				defer c.enter(answering)
			}
			o.Handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         new(http.Protocols),
		ErrorLog:          log.New(debugLog{o.Logger}, "", 0),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	server.Protocols.SetHTTP1(true)
	server.SetKeepAlivesEnabled(o.KeepAlive)
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// debugLog takes the lines of net/http.
type debugLog struct{ logger *slog.Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.logger.Debug("http", "line", string(p))
	return len(p), nil
}
