package inhibit_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/notify"
)

const resolveAfter = 30 * time.Minute

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// subject is an incident of the namespace shop that was opened at noon.
func subject(kind, name, reason, message, host string) *matcher.Subject {
	o := event.Reference{Kind: kind, Name: name}
	if kind != "Node" {
		o.Namespace = "shop"
	}
	return &matcher.Subject{
		Incident: &incident.Incident{
			Event:    event.Event{InvolvedObject: o, Reason: reason, Message: message, Source: event.Source{Host: host}},
			Workload: name, Opened: noon, Active: noon,
		},
		Severity: notify.Warning,
	}
}

func sources(t *testing.T, builtIn bool, specs ...inhibit.Spec) *inhibit.Sources {
	t.Helper()
	rules, err := inhibit.New(specs, builtIn)
	if err != nil {
		t.Fatal(err)
	}
	s := &inhibit.Sources{}
	s.Replace(rules, resolveAfter)
	return s
}

func held(s *inhibit.Sources, subject *matcher.Subject, now time.Time) bool {
	_, ok := s.Holding(subject, now)
	return ok
}

func TestNodeThatIsAwayHoldsItsPodsBack(t *testing.T) {
	s := sources(t, true)
	node := subject("Node", "pi-4", "NodeNotReady", "Node pi-4 status is now: NodeNotReady", "")
	onIt, elsewhere := subject("Pod", "web", "Unhealthy", "Liveness probe failed", "pi-4"), subject("Pod", "web", "Unhealthy", "", "pi-5")
	anonymous := subject("Pod", "db", "NodeNotReady", "Node is not ready", "")
	late := subject("Pod", "kiosk", "NodeNotReady", "Node is not ready", "")
	late.Incident.Opened = noon.Add(2 * time.Minute)
	if held(s, onIt, noon) {
		t.Error("it is held before the node is away")
	}
	s.Observe(node, noon)
	for name, tt := range map[string]struct {
		subject *matcher.Subject
		want    bool
	}{
		"a pod of the node": {onIt, true}, "a pod of another node": {elsewhere, false},
		"a pod that the controller names without its node": {anonymous, true}, "the same two minutes later": {late, false},
		"the node itself": {node, false}, "another trouble of the node": {subject("Node", "pi-4", "NodeHasDiskPressure", "", "pi-4"), false},
	} {
		if got := held(s, tt.subject, noon.Add(time.Minute)); got != tt.want {
			t.Errorf("%s: held %v, want %v", name, got, tt.want)
		}
	}
	if source, _ := s.Holding(onIt, noon); source.Rule != inhibit.NodeRule || source.Group != "pi-4" {
		t.Errorf("held by %+v", source)
	}
	if of := s.Of(node, noon); len(of) != 1 || of[0].Group != "pi-4" {
		t.Errorf("the node is the source of %+v", of)
	}
	if of := s.Of(onIt, noon); len(of) != 0 {
		t.Errorf("the pod is the source of %+v", of)
	}
}

// TestBuiltInRulesHideNothingThatIsWorseThanTheSource: a critical incident is held by a critical one only.
func TestBuiltInRulesHideNothingThatIsWorseThanTheSource(t *testing.T) {
	for _, severity := range []notify.Severity{notify.Warning, notify.Critical} {
		s := sources(t, true, inhibit.Spec{Source: []string{"reason=A"}, Target: []string{"reason=B"}})
		node, oom, evicted := subject("Node", "pi-4", "NodeNotReady", "", ""), subject("Pod", "web", "OOMKilling", "", "pi-4"), subject("Pod", "db", "NodeNotReady", "", "")
		node.Severity, oom.Severity, evicted.Severity = severity, notify.Critical, notify.Critical
		s.Observe(node, noon)
		if held(s, oom, noon) != (severity == notify.Critical) || held(s, evicted, noon) != (severity == notify.Critical) {
			t.Errorf("a node whose incident is %s holds a critical incident: %v, %v", severity, held(s, oom, noon), held(s, evicted, noon))
		}
		source, target := subject("Pod", "a", "A", "", ""), subject("Pod", "b", "B", "", "")
		target.Severity = notify.Critical
		s.Observe(source, noon)
		if !held(s, target, noon) {
			t.Error("a configured rule does not hold a critical incident, as Alertmanager's would")
		}
	}
}

func TestSourceHoldsUntilItIsOver(t *testing.T) {
	node := subject("Node", "pi-4", "NodeNotReady", "", "")
	pod := subject("Pod", "web", "Unhealthy", "", "pi-4")
	s := sources(t, true)
	s.Observe(node, noon)
	s.Observe(node, noon.Add(20*time.Minute))
	if !held(s, pod, noon.Add(50*time.Minute-1)) || held(s, pod, noon.Add(50*time.Minute)) {
		t.Error("it does not hold for as long as the source was not quiet for half an hour")
	}
	s.Observe(node, noon.Add(time.Hour))
	if source, ok := s.Holding(pod, noon.Add(time.Hour)); !ok || !source.Opened.Equal(noon.Add(time.Hour)) {
		t.Errorf("a source that came back holds %v since %s", ok, source.Opened)
	}
}

func TestFirstOfAGroupHoldsTheOthersBack(t *testing.T) {
	pull := `Failed to pull image "%s": rpc error: code = DeadlineExceeded`
	mount := `MountVolume.SetUp failed for volume "%s" : rpc error: timed out`
	quota := `Error creating: pods "x-1" is forbidden: exceeded quota: %s, requested: pods=1, used: pods=5, limited: pods=5`
	for name, tt := range map[string]struct {
		kind, reason, format string
		first, same, differs string
	}{
		"registry":     {"Pod", "Failed", pull, "ghcr.io/shop/web:1", "ghcr.io/other/db@sha256:0", "quay.io/shop/web:1"},
		"Docker's":     {"Pod", "Failed", pull, "nginx", "library/redis:7", "localhost:5000/nginx"},
		"volume":       {"Pod", "FailedMount", mount, "pvc-1", "pvc-1", "pvc-2"},
		"quota":        {"ReplicaSet", "FailedCreate", quota, "compute", "compute", "objects"},
		"back-off too": {"Pod", "BackOff", `Back-off pulling image "%s"`, "ghcr.io/a", "ghcr.io/b", "quay.io/a"},
	} {
		s := sources(t, true)
		first := subject(tt.kind, "first", tt.reason, fmt.Sprintf(tt.format, tt.first), "pi-1")
		same := subject(tt.kind, "same", tt.reason, fmt.Sprintf(tt.format, tt.same), "pi-2")
		differs := subject(tt.kind, "differs", tt.reason, fmt.Sprintf(tt.format, tt.differs), "pi-1")
		for _, one := range []*matcher.Subject{first, same, differs} {
			s.Observe(one, noon)
		}
		if held(s, first, noon) || !held(s, same, noon) || held(s, differs, noon) {
			t.Errorf("%s: held are %v %v %v, want only the second", name, held(s, first, noon), held(s, same, noon), held(s, differs, noon))
		}
		// The first one is over and the second goes on, which keeps the first no longer open: now it is told, and holds a third.
		after := noon.Add(resolveAfter)
		s.Observe(same, after.Add(-1))
		s.Observe(same, after)
		s.Observe(subject(tt.kind, "third", tt.reason, fmt.Sprintf(tt.format, tt.same), ""), after)
		if held(s, same, after) || !held(s, subject(tt.kind, "third", tt.reason, fmt.Sprintf(tt.format, tt.same), ""), after) {
			t.Errorf("%s: what outlives the first of its group is not told", name)
		}
	}
}

// The second event of an image that cannot be pulled, with the same reason, does not name the registry.
func TestGroupIsKnownFromAnEarlierEventOfTheIncident(t *testing.T) {
	s := sources(t, true)
	s.Observe(subject("Pod", "web", "Failed", `Failed to pull image "ghcr.io/a": timeout`, ""), noon)
	s.Observe(subject("Pod", "db", "Failed", `Failed to pull image "ghcr.io/b": timeout`, ""), noon)
	s.Observe(subject("Pod", "db", "Failed", "Error: ErrImagePull", ""), noon)
	if !held(s, subject("Pod", "db", "Failed", "Error: ErrImagePull", ""), noon) {
		t.Error("the incident is told after its second event")
	}
	if held(s, subject("Pod", "web", "Failed", "Error: ErrImagePull", ""), noon) {
		t.Error("the source is held")
	}
	if held(s, subject("Pod", "cron", "Failed", "Error: container has runAsNonRoot", ""), noon) {
		t.Error("what failed for another reason is held")
	}
}

func TestConfiguredRulesAreThoseOfAlertmanager(t *testing.T) {
	s := sources(t, false,
		inhibit.Spec{Source: []string{`reason="DatabaseDown"`}, Target: []string{`reason=~"Backup.*|Unhealthy"`, `kind="Pod"`}, Equal: []string{"namespace"}},
		inhibit.Spec{Source: []string{`reason=~"Loop.*"`}, Target: []string{`reason=~"Loop.*"`}},
	)
	s.Observe(subject("Pod", "db", "DatabaseDown", "", ""), noon)
	if !held(s, subject("Pod", "db", "BackupFailed", "", ""), noon) || held(s, subject("Job", "db", "BackupFailed", "", ""), noon) {
		t.Error("not what matches the target is held")
	}
	other := subject("Pod", "db", "BackupFailed", "", "")
	other.Incident.Event.InvolvedObject.Namespace = "kiosk"
	if held(s, other, noon) {
		t.Error("the labels of equal differ, and it is held")
	}
	s.Observe(subject("Pod", "a", "LoopA", "", ""), noon)
	if held(s, subject("Pod", "b", "LoopB", "", ""), noon) {
		t.Error("what matches both sides is held by another that does")
	}
	// The built-in rules are switched off.
	s.Observe(subject("Node", "pi-4", "NodeNotReady", "", ""), noon)
	if held(s, subject("Pod", "web", "Failed", "", "pi-4"), noon) {
		t.Error("a built-in rule is on")
	}
}

// Labels that both lack are equal, as in Alertmanager.
func TestAbsentLabelsAreEqual(t *testing.T) {
	s := sources(t, false, inhibit.Spec{Source: []string{"reason=A"}, Target: []string{"reason=B"}, Equal: []string{"host", "namespace"}})
	s.Observe(subject("Pod", "a", "A", "", ""), noon)
	if !held(s, subject("Pod", "b", "B", "", ""), noon) || held(s, subject("Pod", "b", "B", "", "pi-1"), noon) {
		t.Error("two incidents without a host are not equal in it, or one with a host is")
	}
}

func TestAgentsOwnIncidentsAreNoPartOfIt(t *testing.T) {
	s := sources(t, false, inhibit.Spec{Source: []string{"reason=A"}, Target: []string{"reason=B"}})
	source, target := subject("EdgeEventer", "pi-1", "A", "", ""), subject("EdgeEventer", "pi-1", "B", "", "")
	source.Incident.Own, target.Incident.Own = true, true
	s.Observe(source, noon)
	if s.Len(noon) != 0 {
		t.Error("it is a source")
	}
	s.Observe(subject("Pod", "a", "A", "", ""), noon)
	if held(s, target, noon) {
		t.Error("it is held")
	}
}

// TestSourcesAreRecalledFromTheQueues: after a restart, in the order of keys, the first of a group is the source again.
func TestSourcesAreRecalledFromTheQueues(t *testing.T) {
	s := sources(t, true)
	second := subject("Pod", "db", "Failed", `Failed to pull image "ghcr.io/b"`, "")
	first := subject("Pod", "web", "Failed", `Failed to pull image "ghcr.io/a"`, "")
	first.Incident.Opened = noon.Add(-time.Minute)
	s.Recall(second)
	s.Recall(first)
	if held(s, first, noon) || !held(s, second, noon) {
		t.Error("not the first of the group is its source")
	}
	if source, _ := s.Holding(second, noon); !source.Until.Equal(noon.Add(resolveAfter)) {
		t.Errorf("it holds until %s", source.Until)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	s := sources(t, true)
	for i := range 5000 {
		s.Observe(subject("Node", fmt.Sprint("pi-", i), "NodeNotReady", "", ""), noon.Add(time.Duration(i)*time.Millisecond))
		s.Observe(subject("Pod", fmt.Sprint("web", i), "Failed", `Failed to pull image "ghcr.io/a"`, ""), noon)
	}
	if n := s.Len(noon); n > 256 {
		t.Errorf("%d sources are open", n)
	}
	if held(s, subject("Pod", "web", "Unhealthy", "", "pi-0"), noon) || !held(s, subject("Pod", "web", "Unhealthy", "", "pi-4999"), noon) {
		t.Error("not the oldest was forgotten")
	}
}

func TestEveryMistakeOfTheRulesIsNamed(t *testing.T) {
	_, err := inhibit.New([]inhibit.Spec{
		{Source: []string{"reason=A", "colour=red"}, Equal: []string{"namespace", "color"}},
		{Target: []string{"reason"}},
	}, true)
	mistakes, ok := errors.AsType[inhibit.Mistakes](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	var paths []string
	for _, m := range mistakes {
		paths = append(paths, m.Path)
	}
	want := []string{"[0].source_matchers[1]", "[0].target_matchers", "[0].equal[1]", "[1].source_matchers", "[1].target_matchers[0]"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
