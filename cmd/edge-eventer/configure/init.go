// Package configure is the commands around a configuration: write a first one, say what is wrong with one, and try its receivers.
package configure

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// credentials is where systemd hands the unit of the packages the files of /etc/edge-eventer/secrets.
const credentials = "/run/credentials/edge-eventer.service/secret_"

// FirstReceivers are the types that init writes a receiver of: those that need one address, or a token and a chat.
func FirstReceivers() []string {
	return []string{"feishu", "dingtalk", "wecom", "slack", "telegram", "worktile", "webhook", "alertmanager", "stdout"}
}

// firstConfig is what a first configuration is made of.
type firstConfig struct {
	*cli.Process

	path, kind, name, secret, chat, cluster, language string
	sendTest                                          bool

	input *bufio.Reader
}

// Init is the command that writes a first configuration.
func Init(proc *cli.Process) *cobra.Command {
	c := &firstConfig{Process: proc, input: bufio.NewReader(proc.In)}
	command := &cobra.Command{
		Use:   "init",
		Short: "write a first configuration and its secret file",
		Long: `Writes a first configuration with one receiver, commented, and the receiver's address into a file of its own that only its owner reads; checks
both, and offers to send a test. It asks for what no flag says, and replaces no file. An address given as --url is seen in the list of processes
for a moment: - reads it from standard input.`,
		Example: `  sudo edge-eventer init
  echo "$FEISHU_URL" | sudo edge-eventer init --type feishu --url - --cluster shop-17 --language zh --send-test`,
		Args: cli.Takes(0, 0, ""),
	}
	path := cli.ConfigFlag(command, " to write")
	flags := command.Flags()
	flags.StringVar(&c.kind, "type", "", "`TYPE` of the receiver: "+strings.Join(FirstReceivers(), ", "))
	cli.Complete(command, "type", FirstReceivers())
	flags.StringVar(&c.name, "receiver", "ops", "`NAME` of the receiver")
	flags.StringVar(&c.secret, "url", "", "`ADDRESS` of the receiver, of telegram the bot's token; - for standard input")
	flags.StringVar(&c.chat, "chat-id", "", "`ID` of the chat, of telegram only")
	flags.StringVar(&c.cluster, "cluster", "", "`NAME` that every message shows; default: the host name")
	flags.StringVar(&c.language, "language", "en", "`LANGUAGE` of messages and status: en or zh")
	cli.Complete(command, "language", []string{"en", "zh"})
	flags.BoolVar(&c.sendTest, "send-test", false, "send a test without asking")
	command.RunE = func(*cobra.Command, []string) error {
		c.path = *path
		return c.run()
	}
	return command
}

func (c *firstConfig) run() error {
	if _, err := os.Lstat(c.path); err == nil {
		return fmt.Errorf("%s is there already, and is not replaced; edit it, or name another with --config", c.path)
	}
	if err := c.ask(); err != nil {
		return err
	}
	// What would be wrong in the file is said before anything is written. The address stands in the text for that.
	_, notes, err := config.Examine([]byte(c.text(c.inline())))
	for _, note := range notes {
		fmt.Fprintf(c.Err, "note: %s: %s\n", note.Path, note.Text)
	}
	if err != nil {
		return fmt.Errorf("this makes no configuration:\n%w", err)
	}
	secretFile := filepath.Join(filepath.Dir(c.path), "secrets", c.kind+"-url")
	named := secretFile
	if c.underSystemd() {
		named = credentials + filepath.Base(secretFile)
	}
	if err := c.write(secretFile, named); err != nil {
		fmt.Fprintf(c.Err, "edge-eventer init: %v\n", err)
		return cli.ErrFailed
	}
	if checkConfig(c.path, c.Process) != nil {
		return cli.ErrFailed
	}
	if c.underSystemd() {
		fmt.Fprintln(c.Out, "now: systemctl restart edge-eventer, and then: edge-eventer send-test")
		return nil
	}
	if !c.sendTest && !strings.HasPrefix(strings.ToLower(c.question("Send a test now? [y/N]: ", false)), "y") {
		return nil
	}
	return sendTest(c.path, "", c.Process)
}

// ask completes what no flag says.
func (c *firstConfig) ask() error {
	if c.kind == "" {
		c.kind = c.question("Type of the receiver ("+strings.Join(FirstReceivers(), ", ")+"): ", false)
	}
	if !slices.Contains(FirstReceivers(), c.kind) {
		text := fmt.Sprintf("--type takes %s, not %q", strings.Join(FirstReceivers(), ", "), c.kind)
		if near := config.Nearest(c.kind, FirstReceivers()); near != "" {
			text += "; did you mean " + near + "?"
		}
		return errors.New(text)
	}
	switch {
	case c.kind == "stdout":
		return nil
	case c.secret == "-":
		c.secret = c.question("", false)
	case c.secret == "" && c.kind == "telegram":
		c.secret = c.question("Token of the bot (is not shown): ", true)
	case c.secret == "":
		c.secret = c.question("Address of the receiver (is not shown): ", true)
	}
	if c.secret == "" {
		return errors.New("give the receiver's address: --url ADDRESS, or --url - and standard input")
	}
	if c.kind == "telegram" && c.chat == "" {
		c.chat = c.question("ID of the chat: ", false)
	}
	return nil
}

// question asks and returns the answer, empty where there is none. What is a secret is not shown on a terminal.
func (c *firstConfig) question(text string, secret bool) string {
	fmt.Fprint(c.Err, text)
	if f, ok := c.In.(*os.File); ok && secret && cli.IsTerminal(f) && c.input.Buffered() == 0 {
		answer, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.Err)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(answer))
	}
	answer, err := c.input.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return strings.TrimSpace(answer)
}

// underSystemd reports whether the configuration is the one that the unit of the packages reads.
func (c *firstConfig) underSystemd() bool {
	if c.path != cli.DefaultConfig {
		return false
	}
	for _, dir := range []string{"/etc", "/lib", "/usr/lib", "/usr/local/lib"} {
		if _, err := os.Stat(dir + "/systemd/system/edge-eventer.service"); err == nil {
			return true
		}
	}
	return false
}

// write makes both files, the secret first, and takes back what it made where the second fails.
func (c *firstConfig) write(secretFile, named string) error {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the configuration: %w", err)
	}
	if c.kind == "stdout" {
		return create(c.path, 0o644, c.text(""))
	}
	if err := os.MkdirAll(filepath.Dir(secretFile), 0o700); err != nil {
		return fmt.Errorf("make the folder of secrets: %w", err)
	}
	if err := create(secretFile, 0o600, c.secret+"\n"); err != nil {
		return err
	}
	if err := create(c.path, 0o644, c.text("urlFile: "+quoteYAML(named))); err != nil {
		return errors.Join(err, os.Remove(secretFile))
	}
	fmt.Fprintf(c.Out, "wrote %s and %s\n", c.path, secretFile)
	return nil
}

// create makes a file that was not there, with exactly this mode, whatever the umask is.
func create(path string, mode os.FileMode, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = io.WriteString(f, text)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// text is the configuration with an address, which is a key and its value.
func (c *firstConfig) text(address string) string {
	var b strings.Builder
	b.WriteString("# Every key with its default: manifests/config.yaml in the source. edge-eventer check-config tells all mistakes at once.\n\n")
	fmt.Fprintf(&b, "# Shown in every message. Empty: the host name.\ncluster: %s\n", quoteYAML(c.cluster))
	fmt.Fprintf(&b, "# en | zh: labels in messages, and what status says.\nlanguage: %s\n\n", quoteYAML(c.language))
	if c.underSystemd() {
		fmt.Fprintf(&b, "kubernetes:\n  # scripts/make-kubeconfig makes it: it may read events and nothing else.\n  kubeconfig: %skubeconfig\n\n", credentials)
	}
	b.WriteString("# Rules in order; the first that matches decides, no match keeps:\n# filter:\n#   - drop: {reason: Unhealthy, namespace: kube-system}\n\n")
	fmt.Fprintf(&b, "receivers:\n    # The name stands for the queue on disk: who renames it leaves the queue behind.\n  - name: %s\n    type: %s\n",
		quoteYAML(c.name), c.kind)
	if c.kind == "telegram" {
		address = strings.Replace(address, "url", "token", 1)
		fmt.Fprintf(&b, "    chatId: %s\n", quoteYAML(c.chat))
	}
	if address != "" {
		fmt.Fprintf(&b, "    # Whoever has it can write to the chat: it stands in a file that only its owner reads.\n    %s\n", address)
	}
	return b.String()
}

// inline is the address as a value of the file.
func (c *firstConfig) inline() string {
	if c.kind == "stdout" {
		return ""
	}
	return "url: " + quoteYAML(c.secret)
}

// quoteYAML quotes a text for YAML.
func quoteYAML(text string) string { return fmt.Sprintf("%q", text) }
