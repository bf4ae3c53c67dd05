package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

var update = flag.Bool("update", false, "write the man page and the completions anew")

const (
	manPage     = "../../manifests/man/edge-eventer.1"
	completions = "../../manifests/completion/edge-eventer."
)

// manEnd is what the man page says beside the commands.
const manEnd = `.SH EXIT STATUS
0 done, 1 failed while running, 2 wrong use or configuration, 3 (status only) the agent may not be asked.
.SH SERVICE
.B edge\-eventer.service
runs the agent as a user of its own that exists only while it runs. It needs a kubeconfig that may get, list and watch
events, and the receivers' URLs; both are files in
.I /etc/edge\-eventer/secrets
that only root can read. systemd copies them to the agent at its start: the file
.I NAME
is
.I /run/credentials/edge\-eventer.service/secret_NAME
for the agent and in its configuration. After a change of such a file run
.BR "systemctl restart edge\-eventer" .
.SH FILES
.TP
.I /etc/edge\-eventer/config.yaml
The configuration.
.TP
.I /etc/edge\-eventer/secrets
One file for each secret.
.TP
.I /var/lib/edge\-eventer/spool.db
What was not delivered yet. Deleting it loses that.
.TP
.I /var/lib/edge\-eventer/spool.db.sock
The socket that status and the spool commands ask the agent at.
.SH SEE ALSO
.BR systemctl (1),
.BR systemd.exec (5)
.PP
The project: https://github.com/edge\-eventer/edge\-eventer
`

// leaves calls fn for the commands that do something, in the order of the help.
func leaves(command *cobra.Command, fn func(*cobra.Command)) {
	if command.HasParent() && !command.HasSubCommands() && command.Name() != "help" && !command.Hidden {
		fn(command)
	}
	for _, c := range command.Commands() {
		leaves(c, fn)
	}
}

// roff escapes what roff takes for its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	return regexp.MustCompile(`(?m)^([.'])`).ReplaceAllString(text, `\&$1`)
}

// manual makes the man page of the command line.
func manual(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`.\" Made from the commands: go test ./cmd/edge-eventer -run TestManPage -update` + "\n")
	b.WriteString(`.TH EDGE\-EVENTER 1 2026\-11\-25 "edge\-eventer" "User Commands"` + "\n.SH NAME\n")
	fmt.Fprintf(&b, "edge\\-eventer \\- %s\n.SH SYNOPSIS\n", roff(root.Short))
	separator := ""
	leaves(root, func(c *cobra.Command) {
		if c.Parent().Name() == "completion" {
			return
		}
		name, arguments, _ := strings.Cut(strings.TrimPrefix(c.UseLine(), c.Parent().CommandPath()+" "), " ")
		fmt.Fprintf(&b, "%s.B %s\n", separator, roff(c.Parent().CommandPath()+" "+name))
		if arguments = strings.TrimSuffix(strings.TrimSuffix(arguments, "[flags]"), " "); arguments != "" {
			fmt.Fprintf(&b, ".I %s\n", roff(arguments))
		}
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				fmt.Fprintf(&b, "[%s]\n", flagItem(f))
			}
		})
		separator = ".br\n"
	})
	fmt.Fprintf(&b, ".br\n.B %s\n.I bash\\fR|\\fIzsh\\fR|\\fIfish\\fR|\\fIpowershell\n", roff("edge-eventer completion"))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n.SH COMMANDS\n", strings.ReplaceAll(roff(root.Long), "\n\n", "\n.PP\n"))
	leaves(root, func(c *cobra.Command) {
		if c.Parent().Name() == "completion" {
			return
		}
		fmt.Fprintf(&b, ".SS %s\n%s\n", roff(strings.TrimPrefix(c.CommandPath(), "edge-eventer ")), roff(c.Long))
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			_, usage := pflag.UnquoteUsage(f)
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
				usage += "; default: " + strings.ToLower(f.DefValue)
			}
			fmt.Fprintf(&b, ".TP\n%s\n%s.\n", flagItem(f), roff(usage))
		})
		fmt.Fprintf(&b, ".PP\n.nf\n%s\n.fi\n", roff(c.Example))
	})
	b.WriteString(".SS completion\nPrints the completion of a shell: bash, zsh, fish or powershell.\n" + manEnd)
	return b.String()
}

// flagItem is a flag with its value, in bold and italics.
func flagItem(f *pflag.Flag) string {
	value, _ := pflag.UnquoteUsage(f)
	item := `\fB` + roff("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		item = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + item
	}
	if value != "" {
		item += ` \fI` + roff(value) + `\fR`
	}
	return item
}

// same holds a file to what is made.
func same(t *testing.T, path, made string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != made {
		t.Errorf("%s is not what the commands make of it: go test ./cmd/edge-eventer -run 'ManPage|Completion' -update (%v)", path, err)
	}
}

func TestManPageIsThatOfTheCommands(t *testing.T) {
	root := newCommand(new(cli.Process))
	root.InitDefaultHelpCmd()
	page := manual(root)
	same(t, manPage, page)
	found := 0
	leaves(root, func(c *cobra.Command) {
		found++
		if !strings.Contains(page, "\n.SS "+roff(strings.TrimPrefix(c.CommandPath(), "edge-eventer "))+"\n") {
			t.Errorf("no section for %s", c.CommandPath())
		}
	})
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestHelpSaysWhatEachCommandTakes asks each command for its help, which goes to standard output.
func TestHelpSaysWhatEachCommandTakes(t *testing.T) {
	leaves(newCommand(new(cli.Process)), func(c *cobra.Command) {
		words := strings.Fields(c.CommandPath())[1:]
		var out, said bytes.Buffer
		if code := run(append(words, "--help"), strings.NewReader(""), &out, &said); code != exitOK || said.Len() > 0 {
			t.Errorf("%s --help: exit code %d: %s", words, code, &said)
		}
		for _, want := range []string{c.Long, "Usage:\n  " + c.CommandPath(), "Examples:\n  ", "--help"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s --help does not say %q:\n%s", words, want, &out)
			}
		}
	})
	for _, words := range [][]string{{"--help"}, {"help"}, {"-h"}, {"help", "spool"}, {"spool", "--help"}} {
		var out, said bytes.Buffer
		if code := run(words, strings.NewReader(""), &out, &said); code != exitOK || said.Len() > 0 || !strings.Contains(out.String(), "Available Commands:") {
			t.Errorf("%s: exit code %d: %s%s", words, code, &out, &said)
		}
	}
}

func TestTypingErrorsAreAnsweredWithWhatWasProbablyMeant(t *testing.T) {
	for _, c := range []struct{ typed, meant string }{
		{"staus", "status"},
		{"chekc-config", "check-config"},
		{"spool shwo abcd", "show"},
		{"status --cofnig x", "--config"},
		{"spool ls --recevier ops", "--receiver"},
	} {
		var out, said bytes.Buffer
		if code := run(strings.Fields(c.typed), strings.NewReader(""), &out, &said); code != exitUsage || !strings.Contains(said.String(), c.meant) || out.Len() > 0 {
			t.Errorf("%s: exit code %d: %s", c.typed, code, &said)
		}
	}
	for typed, want := range map[string]string{
		"status x": `unexpected argument "x"`, "spool": "name a command", "spool show": "name at least one ID", "status -o xml": "text or json",
		"check-config --config a b": "name one file", "spool drop": "--receiver NAME",
	} {
		var out, said bytes.Buffer
		if code := run(strings.Fields(typed), strings.NewReader(""), &out, &said); code != exitUsage || !strings.Contains(said.String(), want) {
			t.Errorf("%s: exit code %d: %s", typed, code, &said)
		}
	}
}

func TestVersionIsSaidTwoWays(t *testing.T) {
	var command, asFlag, said bytes.Buffer
	if run([]string{"version"}, nil, &command, &said)+run([]string{"--version"}, nil, &asFlag, &said) != exitOK || command.String() != asFlag.String() {
		t.Errorf("version: %s--version: %s%s", &command, &asFlag, &said)
	}
}

// TestCompletionFilesAreThoseOfTheCommands holds the file that the packages install, and that each shell gets one.
func TestCompletionFilesAreThoseOfTheCommands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out, said bytes.Buffer
		if code := run([]string{"completion", shell}, nil, &out, &said); code != exitOK || !strings.Contains(out.String(), "edge-eventer") {
			t.Fatalf("completion %s: exit code %d: %s", shell, code, &said)
		}
		if shell == "bash" {
			same(t, completions+shell, out.String())
		}
	}
}

// offeredFor asks what a shell with these words on its line offers in place of the last, through the completion of bash.
func offeredFor(t *testing.T, words ...string) []string {
	t.Helper()
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	// What bash-completion does for the script.
	shell := exec.CommandContext(t.Context(), "bash", "--norc", "-c", `
		_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
		compopt() { :; }
		_filedir() { COMPREPLY=("FILES $1"); }
		. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
		__start_edge-eventer; printf '%s\n' "${COMPREPLY[@]}"`,
		"bash", completions+"bash", binary)
	shell.Args = append(shell.Args, words...)
	shell.Stderr = os.Stderr
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("complete %q: %v", words, err)
	}
	var offered []string
	for line := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word != "" {
			offered = append(offered, word)
		}
	}
	slices.Sort(offered)
	return offered
}

func TestCompletionOffersWhatTheProgramTakes(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte("receivers:\n  - {name: ops, type: stdout}\n  - {name: archive, type: stdout}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{"spool", ""}, []string{"drop", "export", "ls", "retry", "show"}},
		{[]string{"st"}, []string{"status"}},
		{[]string{"status", "--output", ""}, []string{"json", "text"}},
		{[]string{"run", "--log-format", ""}, []string{"auto", "json", "text"}},
		{[]string{"--log-level", ""}, []string{"debug", "error", "info", "warn"}},
		{[]string{"send-test", "--config", config, "--receiver", ""}, []string{"archive", "ops"}},
		{[]string{"spool", "ls", "--config", config, "--receiver", "a"}, []string{"archive"}},
		{[]string{"render", "--s"}, []string{"--simple"}},
	} {
		if got := offeredFor(t, c.words...); !slices.Equal(got, c.want) {
			t.Errorf("%q: offered %q, want %q", c.words, got, c.want)
		}
	}
}
