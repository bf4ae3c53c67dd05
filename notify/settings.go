package notify

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"
)

// AddMistake takes a mistake in the configuration of a receiver: the path of the key below the receiver, such as batch.max, and a
// sentence that says what is allowed. It holds no secret.
type AddMistake func(key, format string, args ...any)

// Settings are what one type of receiver reads of the configuration file. The keys are the yaml tags of its fields, and the
// defaults are what the value holds before the file is read. Each type has its own, in the package beside its code.
type Settings interface {
	// Check adds every mistake that only this type can have. It reads no secret's file.
	Check(add AddMistake)
	// New returns the receiver. It opens no connection. Settings in which Check finds no mistake make no error.
	New(c Common) (Receiver, error)
}

// Common is what the configuration says for every receiver, whatever its type.
type Common struct {
	// Name is unique among the receivers and names its queue.
	Name string
	// Cluster and Labels are in every message. Labels are at most 16.
	Cluster string
	Labels  map[string]string
	// Location is the zone of all times shown. Default: UTC.
	Location *time.Location
	// Language of the labels of messages: en or zh. Default: en.
	Language string

	TLS TLS
	// Proxy is the URL of an HTTP proxy. Default: the environment.
	Proxy string
	// KeyExchange is x25519 or hybrid. Default: x25519.
	KeyExchange string
	// DialContext opens the connections, so that bytes can be counted at the socket. Default: a net.Dialer without
	// keep-alive probes.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Doubt is told the host of the URL when a request to it failed before its answer was judged, so that its name is looked
	// up anew; with wrong set, when it was somebody else who answered, such as a captive portal. Default: nobody is told.
	Doubt func(host string, wrong bool)

	// Version is that of the agent, where a protocol has a place for it.
	Version string
	// Logger takes what is worth a line and is not returned as an error. Default: discarded.
	Logger *slog.Logger
	// Output is where stdout prints. Default: os.Stdout.
	Output io.Writer
}

// TLS says whom a receiver trusts and as whom it signs in.
type TLS struct {
	// CAFile is a PEM file with further authorities to trust.
	CAFile string
	// CertFile and KeyFile are PEM files with the certificate that is shown to a server that asks for one, and its key. All
	// three are read again when they change.
	CertFile, KeyFile string
	// ServerName is verified in place of the name or the address that is dialled.
	ServerName string
	// InsecureSkipVerify turns the check of the server's certificate off.
	InsecureSkipVerify bool
}
