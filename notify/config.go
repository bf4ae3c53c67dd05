package notify

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"
)

// Config says what a receiver is. It comes from the configuration file already decoded: the keys and defaults of the
// file are those of agent/config, what they mean to a platform is said here.
type Config struct {
	// Name is unique among the receivers and names its queue.
	Name string
	// Type is one of Types.
	Type string

	URL    Secret
	Secret Secret
	// Mention lists user ids, or "all"; used only for messages that hold a critical incident.
	Mention []string

	// CAFile is a PEM file with further authorities to trust. The files of TLS are read before each request; when one
	// changed, connections are made anew.
	CAFile string
	// CertFile and KeyFile are PEM files with the certificate that is shown to a server that asks for one, and its key.
	CertFile, KeyFile string
	// ServerName is looked for in the server's certificate, and asked for by SNI. Default: the name or the address in
	// the URL. It cannot be used behind a proxy that is reached by https.
	ServerName string
	// InsecureSkipVerify turns off the check of the server's certificate.
	InsecureSkipVerify bool
	// Proxy is the URL of an HTTP proxy; empty: the environment decides.
	Proxy string

	// Token and ChatID are those of a Telegram bot. Its URL is that of a Bot API server of one's own; empty: Telegram's.
	Token  Secret
	ChatID string

	// Header is added to each request of webhook, kafka-rest, cloudevents and alertmanager.
	Header map[string]Secret
	Gzip   bool
	// BatchMax and BatchBytes bound one request of webhook, kafka-rest, cloudevents and alertmanager.
	// Defaults: 100 incidents, 256 KiB; cloudevents sends batches only for a BatchMax between 2 and 1000 that is not 100,
	// because the specification forbids a batch that was not asked for, and 100 is the default of the file.
	BatchMax   int
	BatchBytes int64

	// Method is POST or PUT; webhook only. Default: POST.
	Method string
	// Body is a tree of map[string]any, []any, string, number, bool and nil whose strings are templates; webhook only.
	Body any
	// SuccessStatus and SuccessJSON are what an answer must show to count as delivered; webhook only. Default: any 2xx.
	SuccessStatus []int
	SuccessJSON   map[string]any

	// Topic is a template; kafka-rest only. Default: DefaultTopic.
	Topic string
	// Labels are added to every alert; alertmanager only.
	Labels map[string]string

	// Cluster is shown in every message.
	Cluster string
	// Location is the zone of all times shown. Default: UTC.
	Location *time.Location
	// Language of the labels: en or zh. Default: en.
	Language string
	// Logger takes what is worth a line and is not returned as an error. Default: discarded.
	Logger *slog.Logger

	// KeyExchange is x25519 or hybrid. Hybrid adds the post-quantum ML-KEM share and with it 2.3 KB to each handshake.
	// Default: x25519, because an alert's secrecy does not outlive it.
	KeyExchange string
	// DialContext opens the connections, so that bytes can be counted at the socket. Default: a net.Dialer
	// without keep-alive probes, which would cost bytes on an idle link.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Doubt is told the host of the URL when a request to it failed before its answer was judged, so that its name is looked
	// up anew; with wrong set, when it was somebody else who answered, such as a captive portal. Default: nobody is told.
	Doubt func(host string, wrong bool)
	// Output is where stdout prints. Default: os.Stdout.
	Output io.Writer
}
