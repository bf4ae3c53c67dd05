package event

import (
	"fmt"
	"strconv"
)

// ParseResourceVersion returns a resourceVersion as a number, by which versions of one datastore's objects are ordered.
// Kubernetes guarantees since 1.35 that it is a decimal number without leading zeros and above 0, of any length; etcd and
// kine count in 64 bits. Anything else is an error.
func ParseResourceVersion(s string) (uint64, error) {
	version, err := strconv.ParseUint(s, 10, 64)
	if err != nil || version == 0 || s[0] == '0' {
		return 0, fmt.Errorf("resourceVersion %.64q: want a decimal number above 0 that fits 64 bits", s)
	}
	return version, nil
}

// WentBack reports whether version is of an older or another history than position: a smaller number, or one that cannot be
// compared with it.
func WentBack(version, position string) bool {
	if version == position {
		return false
	}
	v, errVersion := ParseResourceVersion(version)
	p, errPosition := ParseResourceVersion(position)
	return errVersion != nil || errPosition != nil || v < p
}
