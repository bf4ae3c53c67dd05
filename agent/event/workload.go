package event

import (
	"strconv"
	"strings"
)

// Workload returns the name of an object without what a controller added to it, so that all pods of a Deployment, over
// all its rollouts, have one name. It knows the object's kind and name and asks nobody, so it goes by how Kubernetes
// builds names:
//
//   - A pod has five random characters of randomAlphabet behind the name of its ReplicaSet, DaemonSet, Job or
//     ReplicationController (apiserver pkg/storage/names); the name before is cut to 58 characters.
//   - A Deployment's ReplicaSet has the decimal digits of a 32-bit hash behind its name, each written as one of
//     hashAlphabet (apimachinery pkg/util/rand, SafeEncodeString).
//   - A CronJob's Job has the minutes since 1970 behind its name. A pod of an indexed Job has its index before the random characters.
//   - A StatefulSet's pods and claims end in an ordinal.
//
// A name that could be read in two ways is cut so that unrelated workloads stay apart, at the price that a rare one is
// not recognized: a hash of fewer than six digits (one in 43,000) stays, and so do numbers that are no minutes of the
// years 2017 to 2055 and indexes above 999, because dates, ports and versions look like that. Numbers below stand for
// siblings whoever made them: the pods of two DaemonSets cam-1 and cam-2 are told as cam, those of two Deployments of
// these names are not. The names of all other kinds, nodes first, are unchanged.
func Workload(kind, name string) string {
	switch kind {
	case "Pod":
		return podWorkload(name)
	case "ReplicaSet":
		if base, ok := trimHash(name); ok {
			return base
		}
	case "Job":
		if base, ok := trimMinutes(name); ok {
			return base
		}
	case "PersistentVolumeClaim":
		if base, ok := trimPodInside(name); ok {
			return base
		}
		if base, ok := trimIndex(name); ok {
			return base
		}
	case "ResourceClaim":
		if base, ok := trimRandom(name); ok {
			if inside, ok := trimPodInside(base); ok {
				return inside
			}
			return base
		}
	case "EndpointSlice":
		if base, ok := trimRandom(name); ok {
			return base
		}
	}
	return name
}

const (
	// randomAlphabet is what generated names are made of: no vowels, so that no words come out.
	randomAlphabet = "bcdfghjklmnpqrstvwxz2456789"
	// hashAlphabet has the character for each decimal digit: randomAlphabet at the digit's ASCII code modulo 27.
	hashAlphabet = "456789bcdf"

	randomSuffix = 5
	// maxGenerated is how long a name with a random suffix is at most.
	maxGenerated = 63
	minHash      = 6
	maxIndex     = 999
	// minMinutes and maxMinutes are in July 2017 and July 2055. Dates as 20261121 are below.
	minMinutes, maxMinutes = 25_000_000, 45_000_000
)

// vowelless reports whether s is one of the words that can be taken for five random characters and end the names of pods that
// people write.
func vowelless(s string) bool {
	switch s {
	case "dhcpd", "https", "httpd", "mqtts", "smtpd", "tftpd":
		return true
	}
	return false
}

func podWorkload(name string) string {
	base, ok := trimRandom(name)
	if !ok {
		if base, ok = trimIndex(name); ok {
			return base
		}
		return name
	}
	if workload, ok := trimHash(base); ok {
		return workload
	}
	if workload, ok := trimMinutes(base); ok {
		return workload
	}
	if len(name) == maxGenerated {
		// The hash was cut too, if the name was that long before it.
		if head, tail, ok := cutLast(base); ok && made(tail, hashAlphabet) {
			return head
		}
	}
	if workload, ok := trimIndex(base); ok {
		if cronJob, ok := trimMinutes(workload); ok {
			return cronJob
		}
		return workload
	}
	return base
}

// trimRandom cuts -x2x4z. A name of the full length has lost characters before it, maybe the hyphen too.
func trimRandom(name string) (string, bool) {
	if len(name) == maxGenerated {
		head, tail := name[:maxGenerated-randomSuffix], name[maxGenerated-randomSuffix:]
		return strings.TrimRight(head, "-."), made(tail, randomAlphabet)
	}
	head, tail, ok := cutLast(name)
	return head, ok && len(tail) == randomSuffix && made(tail, randomAlphabet) && !vowelless(tail)
}

// trimHash cuts -7d9f8c6b5d.
func trimHash(name string) (string, bool) {
	head, tail, ok := cutLast(name)
	if !ok || len(tail) < minHash || !made(tail, hashAlphabet) || tail[0] == hashAlphabet[0] {
		return "", false
	}
	digits := strings.Map(func(c rune) rune { return '0' + rune(strings.IndexRune(hashAlphabet, c)) }, tail)
	_, err := strconv.ParseUint(digits, 10, 32)
	return head, err == nil
}

// trimMinutes cuts -29654321.
func trimMinutes(name string) (string, bool) {
	head, tail, ok := cutLast(name)
	minutes, isNumber := number(tail)
	return head, ok && isNumber && minutes >= minMinutes && minutes <= maxMinutes
}

// trimIndex cuts -0 to -999.
func trimIndex(name string) (string, bool) {
	head, tail, ok := cutLast(name)
	index, isNumber := number(tail)
	return head, ok && isNumber && index <= maxIndex
}

// trimPodInside turns web-7d9f8c6b5d-x2x4z-scratch, what is made for a volume of a Deployment's pod, into web-scratch.
func trimPodInside(name string) (string, bool) {
	for end := range len(name) {
		if name[end] != '-' {
			continue
		}
		if replicaSet, ok := trimRandom(name[:end]); ok {
			if workload, ok := trimHash(replicaSet); ok {
				return workload + name[end:], true
			}
		}
	}
	return "", false
}

// cutLast splits a name at its last hyphen, if there is something on both sides.
func cutLast(name string) (head, tail string, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

// number reads digits without a leading zero.
func number(s string) (int, bool) {
	if s == "" || len(s) > 8 || len(s) > 1 && s[0] == '0' || !made(s, "0123456789") {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// made reports whether s has only characters of the alphabet.
func made(s, alphabet string) bool { return s != "" && strings.Trim(s, alphabet) == "" }
