package status

import (
	"fmt"
	"time"
)

// Chinese is the language of a document whose sentences are Chinese; in every other they are English.
const Chinese = "zh"

// sentence is what the agent says itself, in both languages.
type sentence struct{ en, zh string }

// say fills formats in, both with the same arguments.
func say(en, zh string, args ...any) sentence {
	return sentence{fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)}
}

// in returns the sentence in a language.
func (s sentence) in(language string) string {
	if language == Chinese {
		return s.zh
	}
	return s.en
}

// stamp writes a time of a sentence that stays right while it is read.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Span shortens a duration to its two largest units.
func Span(d time.Duration) string {
	switch d = max(0, d.Round(time.Second)); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
