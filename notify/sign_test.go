package notify

import (
	"net/url"
	"testing"
)

func TestSignaturesAreThePlatforms(t *testing.T) {
	if got, want := feishuSign("1599360473", "demo"), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="; got != want {
		t.Errorf("feishu: %q, want %q", got, want)
	}
	got := dingtalkSign("1577262236757", "SECdemo")
	if want := "sLRlUUvzoOXn5DR/+o+s6tOqX+bWe3JGaZ7JQ7844l8="; got != want {
		t.Errorf("dingtalk: %q, want %q", got, want)
	}
	if want := "sLRlUUvzoOXn5DR%2F%2Bo%2Bs6tOqX%2BbWe3JGaZ7JQ7844l8%3D"; url.QueryEscape(got) != want {
		t.Errorf("dingtalk in a URL: %q, want %q", url.QueryEscape(got), want)
	}
}
