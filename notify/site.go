package notify

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// SiteStatus is the reason of an incident of the agent's own whose message is one line of JSON that says how the site stands: see package
// agent/fleet.
const SiteStatus = "SiteStatus"

// SiteNumber is a number of such a line.
type SiteNumber struct {
	// Key is that of the line; of a number in an object, both keys with an underscore between them.
	Key   string
	Value int64
}

// SiteNumbers returns the numbers of how the site stands, true as 1 and false as 0, sorted by their keys, for engines that store numbers rather
// than text; none of any other incident. A number beyond int64 is left out.
func (in *Incident) SiteNumbers() []SiteNumber {
	if !in.Own || in.Reason != SiteStatus {
		return nil
	}
	var line map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(in.Message)))
	d.UseNumber()
	if d.Decode(&line) != nil {
		return nil
	}
	return siteNumbers("", line)
}

func siteNumbers(prefix string, object map[string]any) (numbers []SiteNumber) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch v := object[key].(type) {
		case json.Number:
			if n, err := v.Int64(); err == nil {
				numbers = append(numbers, SiteNumber{prefix + key, n})
			}
		case bool:
			n := int64(0)
			if v {
				n = 1
			}
			numbers = append(numbers, SiteNumber{prefix + key, n})
		case map[string]any:
			if prefix == "" {
				numbers = append(numbers, siteNumbers(key+"_", v)...)
			}
		}
	}
	return numbers
}
