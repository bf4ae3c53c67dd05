package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Secret is a URL, token or key that never prints itself: fmt, log/slog, encoding/json and YAML encoders show
// "<secret>". Only Read gives the text away.
type Secret struct {
	value string
	file  string
}

// maxSecretFile bounds what Read takes from a file; a URL or key longer than 8 KiB is a wrong file.
const maxSecretFile = 8 << 10

// SecretValue returns the secret that is value.
func SecretValue(value string) Secret { return Secret{value: value} }

// SecretFile returns the secret that is the text of a file, without surrounding white space. The file is read at each use,
// so that a rotated secret needs no restart.
func SecretFile(path string) Secret { return Secret{file: path} }

// IsZero reports whether neither a value nor a file is set.
func (s Secret) IsZero() bool { return s == Secret{} }

// File returns the path of the file that holds the secret, empty if the value is known.
func (s Secret) File() string { return s.file }

// Read returns the text of the secret. It fails if the file cannot be read, is empty, or is larger than 8 KiB.
func (s Secret) Read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return "", fmt.Errorf("read secret file: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret file: %w", err)
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("read secret file %s: larger than %d bytes", s.file, maxSecretFile)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "", fmt.Errorf("read secret file %s: it is empty", s.file)
	}
	return string(text), nil
}

// String returns "<secret>", or nothing for the zero secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "<secret>"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// Format hides the secret from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the secret from encoding/json.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML hides the secret from YAML encoders.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }
