package daily

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// maxChanged is how many workloads a line of changes names.
	maxChanged = 5
	// worseBy is how many times more a workload failed that is worse, at least, beside half as often again as before.
	worseBy = 3
)

// changes says what is new, worse and gone since the report before: nothing where there was none. What has no row of its own, on either
// day, may be what is missing on the other, so that nothing is said then.
func (d *Statistics) changes(language string) []string {
	if d.before == nil {
		return nil
	}
	isNew, worse, gone, separator, more := "new since the last report: ", "worse: ", "gone: ", ", ", "%s and %d more"
	if language == "zh" {
		isNew, worse, gone, separator, more = "较上次新增：", "较上次加重：", "较上次消失：", "、", "%s 等，另有 %d 个"
	}
	var news, worsened, ended []string
	for _, r := range d.Rows {
		was, known := d.before.count(r.Name)
		switch {
		case !known && d.before.Others == 0:
			news = append(news, r.Name)
		case known && r.Count >= was+worseBy && r.Count >= was+was/2:
			worsened = append(worsened, fmt.Sprintf("%s (%d → %d)", r.Name, was, r.Count))
		}
	}
	for _, r := range d.before.Rows {
		if _, still := d.count(r.Name); !still && d.Others == 0 {
			ended = append(ended, r.Name)
		}
	}
	var lines []string
	for _, change := range []struct {
		word  string
		names []string
	}{{isNew, news}, {worse, worsened}, {gone, ended}} {
		if len(change.names) == 0 {
			continue
		}
		text := strings.Join(change.names[:min(len(change.names), maxChanged)], separator)
		if rest := len(change.names) - maxChanged; rest > 0 {
			text = fmt.Sprintf(more, text, rest)
		}
		lines = append(lines, change.word+text)
	}
	return lines
}

// count returns how often a workload failed, and whether it has a row.
func (d *Statistics) count(name string) (uint64, bool) {
	i := slices.IndexFunc(d.Rows, func(r row) bool { return r.Name == name })
	if i < 0 {
		return 0, false
	}
	return d.Rows[i].Count, true
}
