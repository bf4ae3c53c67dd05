package daily

import (
	"testing"
	"time"
)

func TestReportSaysWhatChangedSinceTheOneBefore(t *testing.T) {
	statistics := func(counts map[string]uint64, order ...string) *Statistics {
		d := new(Statistics)
		for _, name := range order {
			d.Rows = append(d.Rows, row{Name: name, Count: counts[name], First: 0, Last: 60})
		}
		return d
	}
	yesterday := statistics(map[string]uint64{"a": 10, "b": 2, "c": 100, "d": 7}, "a", "b", "c", "d")
	today := statistics(map[string]uint64{"a": 20, "b": 4, "c": 110, "e": 1}, "a", "b", "c", "e")
	today.before = yesterday
	for language, want := range map[string]string{
		"en": "new since the last report: e\nworse: a (10 → 20)\ngone: d\n110 × c, 01-01 00:00 to 01-01 00:01\n20 × a, 01-01 00:00 to 01-01 00:01\n" +
			"4 × b, 01-01 00:00 to 01-01 00:01\n1 × e, 01-01 00:00 to 01-01 00:01",
		"zh": "较上次新增：e\n较上次加重：a (10 → 20)\n较上次消失：d\n110 × c，01-01 00:00 至 01-01 00:01\n20 × a，01-01 00:00 至 01-01 00:01\n" +
			"4 × b，01-01 00:00 至 01-01 00:01\n1 × e，01-01 00:00 至 01-01 00:01",
	} {
		if got := today.Text(time.UTC, language); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", language, got, want)
		}
	}
	// What has no row may be any of those that seem to be new or gone.
	today.Others, yesterday.Others = 3, 5
	if got := today.changes("en"); len(got) != 1 || got[0] != "worse: a (10 → 20)" {
		t.Errorf("with others on both days: %q", got)
	}
	if got := (&Statistics{before: &Statistics{}}).Text(time.UTC, "en"); got != "No failure." {
		t.Errorf("a quiet day after a quiet day: %q", got)
	}
}
