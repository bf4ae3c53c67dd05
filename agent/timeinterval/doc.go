// Package timeinterval says whether an instant lies in a time interval of the configuration, with the words and the verdicts of
// Alertmanager's time_intervals: the same file means the same nights on the device as it does in the centre.
//
// Within a field any range is enough, over the fields all must hold, and a field that is absent holds always. A range of times
// begins with its first minute and ends before its last one; ranges of days, months and years hold both ends. Nothing wraps
// around: a night is two ranges, one up to 24:00 and one from 00:00. Without a location the interval is meant in UTC.
//
// Source: prometheus/alertmanager 0.25.0, docs/configuration.md, and its package timeinterval, against which the tests hold this one.
package timeinterval
