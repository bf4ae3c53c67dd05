package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestClockOfAProgramIsSetWhileItRuns builds a small program in place of the agent, with the Go at hand.
func TestClockOfAProgramIsSetWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	text := `package main

import ("bufio"; "fmt"; "os"; "time")

func main() {
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().Unix(), time.Since(began) < time.Minute)
	}
}
`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := buildWithClock(t.Context(), dir, source)
	if err != nil {
		t.Fatal(err)
	}
	clock, err := newClock(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	program := exec.CommandContext(t.Context(), binary)
	program.Env = []string{clockVariable + "=" + clock.file.Name()}
	ask, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	for _, ahead := range []time.Duration{0, 8 * time.Hour, -time.Since(time.Unix(0, 0)), -3 * time.Second, 0} {
		if err := clock.set(ahead); err != nil {
			t.Fatal(err)
		}
		want := time.Now().Add(ahead).Unix()
		if _, err := ask.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		n, err := answers.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		seconds, steady, _ := strings.Cut(strings.TrimSpace(string(buffer[:n])), " ")
		if got, err := strconv.ParseInt(seconds, 10, 64); err != nil || got < want || got > want+5 {
			t.Errorf("set %s ahead, the program's clock says %s, want %d", ahead, seconds, want)
		}
		if steady != "true" {
			t.Errorf("set %s ahead, the time that passed changed with it", ahead)
		}
	}
	if err := ask.Close(); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Fatal(err)
	}
}
