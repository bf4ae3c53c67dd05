package texttemplate

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// methodByName finds the methods that templates can call: those of an event, of time.Time, time.Duration and what these return. Each name is
// a constant in a call of its own, since only then the linker drops the methods with other names. A test of package notify compares
// the list with the types that templates see.
func methodByName(v reflect.Value, name string) reflect.Value {
	switch name {
	case "Abs":
		return v.MethodByName("Abs")
	case "Add":
		return v.MethodByName("Add")
	case "AddDate":
		return v.MethodByName("AddDate")
	case "After":
		return v.MethodByName("After")
	case "Before":
		return v.MethodByName("Before")
	case "Clock":
		return v.MethodByName("Clock")
	case "Compare":
		return v.MethodByName("Compare")
	case "Date":
		return v.MethodByName("Date")
	case "Day":
		return v.MethodByName("Day")
	case "Equal":
		return v.MethodByName("Equal")
	case "FirstSeen":
		return v.MethodByName("FirstSeen")
	case "Format":
		return v.MethodByName("Format")
	case "GetTimestampISO8601":
		return v.MethodByName("GetTimestampISO8601")
	case "GetTimestampMs":
		return v.MethodByName("GetTimestampMs")
	case "GoString":
		return v.MethodByName("GoString")
	case "Host":
		return v.MethodByName("Host")
	case "Hour":
		return v.MethodByName("Hour")
	case "Hours":
		return v.MethodByName("Hours")
	case "ISOWeek":
		return v.MethodByName("ISOWeek")
	case "In":
		return v.MethodByName("In")
	case "IsDST":
		return v.MethodByName("IsDST")
	case "IsZero":
		return v.MethodByName("IsZero")
	case "LastSeen":
		return v.MethodByName("LastSeen")
	case "Local":
		return v.MethodByName("Local")
	case "Location":
		return v.MethodByName("Location")
	case "Microseconds":
		return v.MethodByName("Microseconds")
	case "Milliseconds":
		return v.MethodByName("Milliseconds")
	case "Minute":
		return v.MethodByName("Minute")
	case "Minutes":
		return v.MethodByName("Minutes")
	case "Month":
		return v.MethodByName("Month")
	case "Nanosecond":
		return v.MethodByName("Nanosecond")
	case "Nanoseconds":
		return v.MethodByName("Nanoseconds")
	case "Observed":
		return v.MethodByName("Observed")
	case "Reporter":
		return v.MethodByName("Reporter")
	case "Round":
		return v.MethodByName("Round")
	case "Second":
		return v.MethodByName("Second")
	case "Seconds":
		return v.MethodByName("Seconds")
	case "String":
		return v.MethodByName("String")
	case "Sub":
		return v.MethodByName("Sub")
	case "Truncate":
		return v.MethodByName("Truncate")
	case "UTC":
		return v.MethodByName("UTC")
	case "Unix":
		return v.MethodByName("Unix")
	case "UnixMicro":
		return v.MethodByName("UnixMicro")
	case "UnixMilli":
		return v.MethodByName("UnixMilli")
	case "UnixNano":
		return v.MethodByName("UnixNano")
	case "Weekday":
		return v.MethodByName("Weekday")
	case "Year":
		return v.MethodByName("Year")
	case "YearDay":
		return v.MethodByName("YearDay")
	case "Zone":
		return v.MethodByName("Zone")
	case "ZoneBounds":
		return v.MethodByName("ZoneBounds")
	}
	return reflect.Value{}
}

// sortedKeys are the keys of a map in the order of their text.
func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return keys
}
