package inbox

import (
	"bytes"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/incident"
)

// Held is what one incident holds back in the queue: it is told with that incident, in numbers.
type Held struct {
	Incidents, Objects int
	Events             uint64
	// Counted are they, to be acknowledged when the incident was told.
	Counted Counted
}

// HeldBy returns what the entries hold back in the queue, by the entry's key; nil where none of them holds anything.
func (r *Reading) HeldBy(entries []Entry) (map[string]*Held, error) {
	muter := r.inbox.Muter
	if muter == nil || muter.Sources == nil {
		return nil, nil
	}
	var held map[string]*Held
	for i := range entries {
		if len(muter.Sources.Of(entries[i].subject(), r.now)) > 0 {
			if held == nil {
				held = make(map[string]*Held)
			}
			held[string(entries[i].Key)] = &Held{}
		}
	}
	if held == nil {
		return nil, nil
	}
	for record := range r.queue.All() {
		if record.Untold == 0 {
			continue
		}
		in, err := incident.Decode(record.Body)
		if err != nil {
			return nil, fmt.Errorf("decode record %x: %w", record.Key, err)
		}
		e := Entry{bytes.Clone(record.Key), in, r.inbox.severityOf(in)}
		source, ok := muter.Sources.Holding(e.subject(), r.now)
		if !ok || held[source.Incident] == nil {
			continue
		}
		h := held[source.Incident]
		h.Incidents++
		h.Objects += in.ObjectCount()
		h.Events += uint64(in.Untold())
		h.Counted = append(h.Counted, markOf(&e))
	}
	return held, nil
}

// Text says it in the language en or zh; empty where nothing is held back.
func (h *Held) Text(language string) string {
	switch {
	case h == nil || h.Incidents == 0:
		return ""
	case language == "zh":
		return fmt.Sprintf("由此引起、不再单独通知：%d 个故障、%d 个事件，涉及 %d 个对象。", h.Incidents, h.Events, h.Objects)
	}
	return fmt.Sprintf("Held back as its consequence: %s with %s of %s.",
		plural(uint64(h.Incidents), "incident"), plural(h.Events, "event"), plural(uint64(h.Objects), "object"))
}

func plural(n uint64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
