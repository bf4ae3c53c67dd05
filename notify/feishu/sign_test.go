package feishu

import "testing"

func TestSignatureIsThePlatforms(t *testing.T) {
	if got, want := sign("1599360473", "demo"), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
