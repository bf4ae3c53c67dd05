package otlp

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

var errReply = errors.New("not an ExportLogsServiceResponse")

// partial is the partial_success of an answer.
type partial struct {
	// set says that the answer has one at all. One that says nothing is what OpenObserve writes when it could not store.
	set      bool
	rejected int64
	message  string
}

// parseReply reads an ExportLogsServiceResponse, whose only field is partial_success: rejected_log_records 1, error_message 2.
func parseReply(b []byte) (partial, error) {
	var p partial
	err := fields(b, func(number protowire.Number, _ uint64, message []byte) error {
		if number != 1 {
			return nil
		}
		p.set = true
		return fields(message, func(number protowire.Number, n uint64, text []byte) error {
			switch number {
			case 1:
				p.rejected = int64(n)
			case 2:
				p.message = string(text)
			}
			return nil
		})
	})
	return p, err
}

// parseStatus reads the message, field 2, of a google.rpc.Status, which is the body of a refusal. It returns "" for anything else.
func parseStatus(b []byte) string {
	text := ""
	err := fields(b, func(number protowire.Number, _ uint64, message []byte) error {
		if number == 2 {
			text = string(message)
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return text
}

// fields calls each for the fields of a message: with a number for a varint, with bytes for what has a length.
func fields(b []byte, each func(number protowire.Number, n uint64, bytes []byte) error) error {
	for len(b) > 0 {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errReply
		}
		b = b[size:]
		var n uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(number, kind, b)
		}
		if size < 0 {
			return errReply
		}
		if err := each(number, n, bytes); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
