package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/lifecycle"
)

func TestWhatWasStartedLastIsStoppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := lifecycle.New(t.Context())
		var ended []string
		for _, name := range []string{"spool", "deliveries", "intake", "watch"} {
			s.Go(name, time.Second, func(ctx context.Context) error {
				<-ctx.Done()
				ended = append(ended, name)
				return nil
			})
		}
		if err := s.Stop(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if want := []string{"watch", "intake", "deliveries", "spool"}; !slices.Equal(ended, want) {
			t.Errorf("ended in the order %v, want %v", ended, want)
		}
	})
}

// TestAStageThatHangsKeepsNoOtherFromEnding hangs each stage in turn.
func TestAStageThatHangsKeepsNoOtherFromEnding(t *testing.T) {
	names := []string{"spool", "deliveries", "intake", "watch"}
	for _, hanging := range names {
		t.Run(hanging, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := lifecycle.New(t.Context())
				ended, release := 0, make(chan struct{})
				for _, name := range names {
					s.Go(name, time.Second, func(ctx context.Context) error {
						<-ctx.Done()
						if name == hanging {
							<-release
							return nil
						}
						ended++
						return nil
					})
				}
				begin := time.Now()
				err := s.Stop(5 * time.Second)
				if err == nil || !strings.Contains(err.Error(), "stop "+hanging+": has not ended within ") {
					t.Errorf("Stop says %v, and not that %s hangs", err, hanging)
				}
				// It had all the time that is not kept for those behind it.
				want := 5*time.Second - time.Duration(slices.Index(names, hanging))*time.Second
				if took := time.Since(begin); took != want || ended != len(names)-1 {
					t.Errorf("%d other stages ended in %s, want %d in %s", ended, took, len(names)-1, want)
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

// TestAllStagesThatHangAreLeftBehindInTime: the time that is kept for each is all that there is.
func TestAllStagesThatHangAreLeftBehindInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := lifecycle.New(t.Context())
		release := make(chan struct{})
		for range 4 {
			s.Go("stage", time.Second, func(context.Context) error { <-release; return nil })
		}
		begin := time.Now()
		if err := s.Stop(5 * time.Second); strings.Count(err.Error(), "has not ended") != 4 {
			t.Errorf("Stop says %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it took %s, want 5 seconds", took)
		}
		close(release)
		synctest.Wait()
	})
}

func TestAStageThatFailsEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := lifecycle.New(t.Context())
		broken := errors.New("no such disk")
		s.Go("port", time.Second, func(ctx context.Context) error { <-ctx.Done(); return nil })
		s.Go("spool", time.Second, func(context.Context) error { return broken })
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, broken) || !strings.HasPrefix(cause.Error(), "spool: ") {
			t.Errorf("the context ended with %v", cause)
		}
		if err := s.Stop(5 * time.Second); !errors.Is(err, broken) {
			t.Errorf("Stop says %v", err)
		}
	})
}
