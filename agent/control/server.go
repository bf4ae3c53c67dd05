package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/server"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// maxBody bounds a request and what a client takes of an error.
const maxBody = 64 << 10

// SocketPath returns where the agent of a spool listens.
func SocketPath(spoolPath string) string { return spoolPath + ".sock" }

// Server answers on the socket.
type Server struct {
	// Status returns how the agent stands. It is asked from several goroutines.
	Status func() (status.Document, error)
	// Queues returns the queues, or an error while the spool is not open.
	Queues func() (Queues, error)
	// Group is a group, by name or number, that may connect too; empty: none.
	Group string
}

// Serve listens at path until ctx ends. Whoever holds the spool's lock owns the path, so a socket that a killed agent left
// behind is replaced. A path of more than 107 bytes is an error of the kernel (unix(7)).
func (s *Server) Serve(ctx context.Context, path string) error {
	// The socket gets its name only when its mode is set: a connection in between would be anybody's.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old control socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", fresh)
	if err != nil {
		return fmt.Errorf("listen on control socket: %w", err)
	}
	defer listener.Close()
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	if err := errors.Join(s.admit(fresh), os.Rename(fresh, path)); err != nil {
		return fmt.Errorf("name control socket: %w", err)
	}
	defer os.Remove(path)
	// Each page of a list is a request, so that a connection may have several.
	options := server.Options{Handler: s.handler(), KeepAlive: true, WriteTimeout: time.Minute}
	if err := server.Serve(ctx, listener, options); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// admit sets who may connect.
func (s *Server) admit(path string) error {
	if s.Group == "" {
		return os.Chmod(path, 0o600)
	}
	number, err := strconv.Atoi(s.Group)
	if err != nil {
		group, err := user.LookupGroup(s.Group)
		if err != nil {
			return err
		}
		if number, err = strconv.Atoi(group.Gid); err != nil {
			return err
		}
	}
	// The group comes first: with the mode before it, the socket would be open to the agent's own group for a moment.
	return errors.Join(os.Chmod(path, 0o600), os.Chown(path, -1, number), os.Chmod(path, 0o660))
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		d, err := s.Status()
		reply(w, d, err)
	})
	mux.HandleFunc("POST /entries", handle(s, Queues.Entries))
	mux.HandleFunc("POST /retry", handle(s, Queues.Retry))
	mux.HandleFunc("POST /drop", handle(s, Queues.Drop))
	mux.HandleFunc("POST /silences", handle(s, Queues.Silences))
	mux.HandleFunc("POST /silences/add", handle(s, Queues.AddSilence))
	mux.HandleFunc("POST /silences/expire", handle(s, Queues.ExpireSilences))
	return mux
}

// handle decodes a request, does what it asks for and encodes the answer.
func handle[In, Out any](s *Server, do func(Queues, context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&in); err != nil {
			reply(w, in, fmt.Errorf("decode request: %w", err))
			return
		}
		queues, err := s.Queues()
		if err != nil {
			reply(w, in, err)
			return
		}
		out, err := do(queues, r.Context(), in)
		reply(w, out, err)
	}
}

// failure is the answer to what could not be done.
type failure struct {
	Error string `json:"error"`
	// Kind names the error that errors.Is finds again on the other side.
	Kind string `json:"kind,omitempty"`
}

// kinds are the errors that keep their identity over the socket.
func kinds() map[string]error {
	return map[string]error{
		"no-entry": ErrNoEntry, "ambiguous": ErrAmbiguous, "no-queue": ErrNoQueue,
		"no-silence": silence.ErrNotFound, "ambiguous-silence": silence.ErrAmbiguous, "full": silence.ErrFull,
	}
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f := failure{Error: err.Error()}
		for kind, sentinel := range kinds() {
			if errors.Is(err, sentinel) {
				f.Kind = kind
			}
		}
		w.WriteHeader(http.StatusConflict)
		v = f
	}
	// A client that went away misses nothing that it wants.
	_ = json.NewEncoder(w).Encode(v)
}
