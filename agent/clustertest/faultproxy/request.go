package faultproxy

import (
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

// Match is a kind of request.
type Match int

// The kinds of requests. Each request is of one kind besides Any.
const (
	// Any is every request.
	Any Match = iota
	// List is the first page of a list, or a whole one.
	List
	// Continue is a further page of a list.
	Continue
	// Watch is a watch.
	Watch
	// Other is what is none of these.
	Other
)

func (m Match) String() string {
	return [...]string{"any", "list", "continue", "watch", "other"}[m]
}

func matchOf(r *http.Request) Match {
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet:
		return Other
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		return Watch
	case query.Get("continue") != "":
		return Continue
	case filepath.Base(r.URL.Path) == "events":
		return List
	}
	return Other
}

// Request is what the proxy remembers of one request.
type Request struct {
	Time     time.Time
	Kind     Match
	Path     string
	Query    url.Values
	Protocol string
	// Faulted says that a fault answered it.
	Faulted bool
}
