package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/eclipse/paho.golang/packets"
)

// maxRead bounds a packet of the broker's. What comes is an answer to CONNECT, PUBLISH or PINGREQ, or the reason for an end: some
// hundred bytes. The agent subscribes to nothing.
const maxRead = 16 << 10

// The reason codes that are judged by name. Source: MQTT 5.0, table 2-6.
const (
	reasonNoSubscribers         = 0x10
	reasonVersion               = 0x84
	reasonClientID              = 0x85
	reasonUser                  = 0x86
	reasonNotAuthorized         = 0x87
	reasonServerBusy            = 0x89
	reasonBanned                = 0x8A
	reasonShuttingDown          = 0x8B
	reasonAuthMethod            = 0x8C
	reasonKeepAliveTimeout      = 0x8D
	reasonTakenOver             = 0x8E
	reasonTopicName             = 0x90
	reasonTooLarge              = 0x95
	reasonPayloadFormat         = 0x99
	reasonRetain                = 0x9A
	reasonQoS                   = 0x9B
	reasonUseAnotherServer      = 0x9C
	reasonServerMoved           = 0x9D
	firstFailure           byte = 0x80
)

var (
	errForeign = errors.New("the answer is not that of an MQTT 5 broker (perhaps a captive portal or a proxy)")
	errOld     = errors.New("the broker does not speak MQTT 5")
)

// readPacket reads one packet of at most maxRead bytes. It hands the library nothing that announces more than there is: its reader
// would make room for the 256 MiB that five bytes can announce.
func readPacket(r *bufio.Reader) (*packets.ControlPacket, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	whole := []byte{kind}
	size := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return nil, noEOF(err)
		}
		whole = append(whole, b)
		size |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 14 {
			return nil, errForeign
		}
	}
	if size > maxRead {
		return nil, errForeign
	}
	rest := make([]byte, size)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, noEOF(err)
	}
	switch kind {
	case packets.CONNACK << 4:
		if size == 2 {
			// As MQTT 3.1.1 answers: no properties. Its code 1 is an unacceptable version, which 3.1.1 calls version 5.
			return nil, errOld
		}
		err = checkProperties(rest, 2)
	case packets.PUBACK << 4:
		err = checkProperties(rest, 3)
	case packets.DISCONNECT << 4:
		if size == 0 {
			return packets.NewControlPacket(packets.DISCONNECT), nil
		}
		err = checkProperties(rest, 1)
	case packets.PINGRESP << 4:
	default:
		err = errForeign
	}
	if err != nil {
		return nil, err
	}
	p, err := packets.ReadPacket(bytes.NewReader(append(whole, rest...)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	}
	return p, nil
}

// checkProperties makes sure that the properties of a packet, which begin at a byte of it and may be missing, end with it.
func checkProperties(packet []byte, at int) error {
	if len(packet) <= at {
		return nil
	}
	size, n := 0, 0
	for ; n < 3 && at+n < len(packet); n++ {
		size |= int(packet[at+n]&0x7f) << (7 * n)
		if packet[at+n] < 0x80 {
			if at+n+1+size == len(packet) {
				return nil
			}
			break
		}
	}
	return errForeign
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encoded returns the bytes of a packet, so that one write takes them: each write over TLS is a record of its own.
func encoded(p io.WriterTo) []byte {
	var b bytes.Buffer
	// A buffer takes everything.
	_, _ = p.WriteTo(&b)
	return b.Bytes()
}
