package suspect

import (
	"slices"

	"github.com/edge-eventer/edge-eventer/agent/inbox"
)

// Narrowing looks for the incident that spoils a message: its incidents are sent in halves, and halves of those that fail. The zero
// value is none.
type Narrowing struct {
	// suspects are the keys of the incidents that are to be sent in messages of at most most.
	suspects [][]byte
	most     int
	// Again says that the rest failed as a whole after a part of it was taken: then it is sent in parts to the end.
	Again bool
	// Taken says that a part was: then what fails alone is at fault, and not the receiver.
	Taken bool
}

// Active reports whether anything is suspected.
func (n *Narrowing) Active() bool { return len(n.suspects) > 0 }

// Halve puts the incidents of a message that failed first, to be sent in two.
func (n *Narrowing) Halve(failed []inbox.Entry) {
	n.remove(failed)
	keys := make([][]byte, 0, len(failed)+len(n.suspects))
	for i := range failed {
		keys = append(keys, failed[i].Key)
	}
	n.suspects = append(keys, n.suspects...)
	n.most = max(1, (len(failed)+1)/2)
}

// Decided takes off incidents of which is known what becomes of them, and lets the next message have twice as many.
func (n *Narrowing) Decided(those []inbox.Entry) {
	n.remove(those)
	n.most *= 2
}

func (n *Narrowing) remove(those []inbox.Entry) {
	for i := range those {
		n.Remove(those[i].Key)
	}
}

// Remove takes one off that is gone, or was told.
func (n *Narrowing) Remove(key []byte) {
	kept := n.suspects[:0]
	for _, k := range n.suspects {
		if string(k) != string(key) {
			kept = append(kept, k)
		}
	}
	clear(n.suspects[len(kept):])
	n.suspects = kept
}

// Suspects returns the keys of those that are suspected, the next first, and how many of them the next message tells at most.
func (n *Narrowing) Suspects() (keys [][]byte, most int) { return slices.Clone(n.suspects), n.most }
