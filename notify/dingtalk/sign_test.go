package dingtalk

import (
	"net/url"
	"testing"
)

func TestSignatureIsThePlatforms(t *testing.T) {
	got := sign("1577262236757", "SECdemo")
	if want := "sLRlUUvzoOXn5DR/+o+s6tOqX+bWe3JGaZ7JQ7844l8="; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if want := "sLRlUUvzoOXn5DR%2F%2Bo%2Bs6tOqX%2BbWe3JGaZ7JQ7844l8%3D"; url.QueryEscape(got) != want {
		t.Errorf("in a URL: %q, want %q", url.QueryEscape(got), want)
	}
}
