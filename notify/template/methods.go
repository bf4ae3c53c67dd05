package template

import (
	"fmt"
	"reflect"
	"time"
)

// methods are the methods that templates can call, as functions whose first argument is the receiver. The executor converts the others as
// it does for a method. What returns two values is not among them: text/template cannot call it either.
func methods() map[string]any {
	return map[string]any{
		"Abs":          time.Duration.Abs,
		"Add":          time.Time.Add,
		"AddDate":      time.Time.AddDate,
		"After":        time.Time.After,
		"Before":       time.Time.Before,
		"Compare":      time.Time.Compare,
		"Day":          time.Time.Day,
		"Equal":        time.Time.Equal,
		"Format":       time.Time.Format,
		"GoString":     time.Time.GoString,
		"Hour":         time.Time.Hour,
		"Hours":        time.Duration.Hours,
		"In":           time.Time.In,
		"IsDST":        time.Time.IsDST,
		"IsZero":       time.Time.IsZero,
		"Local":        time.Time.Local,
		"Location":     time.Time.Location,
		"Microseconds": time.Duration.Microseconds,
		"Milliseconds": time.Duration.Milliseconds,
		"Minute":       time.Time.Minute,
		"Minutes":      time.Duration.Minutes,
		"Month":        time.Time.Month,
		"Nanosecond":   time.Time.Nanosecond,
		"Nanoseconds":  time.Duration.Nanoseconds,
		"Round":        round,
		"Second":       time.Time.Second,
		"Seconds":      time.Duration.Seconds,
		"String":       stringOf,
		"Sub":          time.Time.Sub,
		"Truncate":     truncateTo,
		"UTC":          time.Time.UTC,
		"Unix":         time.Time.Unix,
		"UnixMicro":    time.Time.UnixMicro,
		"UnixMilli":    time.Time.UnixMilli,
		"UnixNano":     time.Time.UnixNano,
		"Weekday":      time.Time.Weekday,
		"Year":         time.Time.Year,
		"YearDay":      time.Time.YearDay,
	}
}

// Several types have these.

func round(v reflect.Value, to time.Duration) (reflect.Value, error) {
	switch v := valueOf(v).(type) {
	case time.Time:
		return reflect.ValueOf(v.Round(to)), nil
	case time.Duration:
		return reflect.ValueOf(v.Round(to)), nil
	}
	return v, noMethod(v, "Round")
}

func truncateTo(v reflect.Value, to time.Duration) (reflect.Value, error) {
	switch v := valueOf(v).(type) {
	case time.Time:
		return reflect.ValueOf(v.Truncate(to)), nil
	case time.Duration:
		return reflect.ValueOf(v.Truncate(to)), nil
	}
	return v, noMethod(v, "Truncate")
}

func stringOf(v reflect.Value) (string, error) {
	switch v := valueOf(v).(type) {
	case time.Time:
		return v.String(), nil
	case time.Duration:
		return v.String(), nil
	case time.Month:
		return v.String(), nil
	case time.Weekday:
		return v.String(), nil
	case *time.Location:
		return v.String(), nil
	}
	return "", noMethod(v, "String")
}

// valueOf is what a value holds, below pointers other than that of a zone.
func valueOf(v reflect.Value) any {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer && v.Type() != reflect.TypeFor[*time.Location]() {
		v = v.Elem()
	}
	if !v.IsValid() || !v.CanInterface() {
		return nil
	}
	return v.Interface()
}

func noMethod(v reflect.Value, name string) error {
	if !v.IsValid() {
		return fmt.Errorf("nil has no method %s", name)
	}
	return fmt.Errorf("%s has no method %s", v.Type(), name)
}
