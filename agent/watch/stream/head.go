package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// head is what can be read of an event, or of a frame with one, that as a whole cannot: the API server writes the metadata
// first, and in it the names before annotations and managedFields.
type head struct {
	// frameType is the frame's; an event of a list has none.
	frameType string
	meta      event.ObjectMeta
}

// Meta returns what an event that cannot be read says of itself. The UID is one made of the bytes where it shows none.
func (r Raw) Meta() event.ObjectMeta { return readHead(r.data).meta }

// errHeadRead ends the reading of a head.
var errHeadRead = errors.New("the metadata ends here")

// readHead reads as far as it can. The UID is one made of the bytes where the event shows none.
func readHead(data []byte) head {
	var h head
	// Whatever ends it, what was found until then counts.
	_ = h.object(json.NewDecoder(bytes.NewReader(data)), "")
	if h.meta.UID == "" {
		h.meta.UID = fmt.Sprintf("unreadable-%x", sha256.Sum256(data))
	}
	return h
}

// object reads the object that comes next, which lies under the path.
func (h *head) object(d *json.Decoder, path string) error {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(err, errHeadRead)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		at := path + "." + name
		switch at {
		case ".object":
			err = h.object(d, "")
		case ".metadata":
			if err = h.object(d, at); err == nil {
				err = errHeadRead
			}
		default:
			err = h.value(d, at)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// value reads over a value and keeps it where it says what the event is.
func (h *head) value(d *json.Decoder, at string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'), json.Delim('['):
		return readOver(d)
	}
	text, _ := token.(string)
	switch at {
	case ".type":
		// A frame begins with its own; an event has one too.
		if h.frameType == "" {
			h.frameType = Text(text)
		}
	case ".metadata.name":
		h.meta.Name = Text(text)
	case ".metadata.namespace":
		h.meta.Namespace = Text(text)
	case ".metadata.uid":
		h.meta.UID = Text(text)
	case ".metadata.resourceVersion":
		h.meta.ResourceVersion = Text(text)
	case ".metadata.creationTimestamp":
		var t wireTime
		_ = t.UnmarshalJSON([]byte(`"` + text + `"`))
		h.meta.CreationTimestamp = t.Time
	}
	return nil
}

// readOver reads to the end of the object or array that was opened.
func readOver(d *json.Decoder) error {
	for depth := 1; depth > 0; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}
