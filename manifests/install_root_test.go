//go:build asroot

package manifests_test

import (
	"strings"
	"testing"
)

// TestAgentsUserReadsWhatWasInstalledUnderAnyUmask: systemd starts the agent as a user of its own. Only root has a second user to read as, since a
// namespace of an ordinary user has one; for the others TestFoldersAreOpenUnderAnyUmask holds the same by the modes.
func TestAgentsUserReadsWhatWasInstalledUnderAnyUmask(t *testing.T) {
	const (
		asNobody = `chroot --userspec=65534:65534 / /bin/sh -ec '
cat /etc/edge-eventer/config.yaml >/dev/null
/usr/local/bin/edge-eventer version
cat /usr/local/share/man/man1/edge-eventer.1 /usr/local/share/bash-completion/completions/edge-eventer >/dev/null
if cat /etc/edge-eventer/secrets/*; then exit 9; fi'`
		secret = "\necho https://open.feishu.cn/x >/etc/edge-eventer/secrets/feishu-url\n"
		// As the first versions of install.sh left it under that umask.
		spoil = "\nchmod 700 /etc/edge-eventer /usr/local/bin /usr/local/share/man\nchmod 600 /etc/edge-eventer/config.yaml\nchmod 755 /etc/edge-eventer/secrets\n"
	)
	for _, umask := range []string{"022", "027", "077"} {
		out, err := machine(t, unpacked(t, program), "umask "+umask+"\n/release/install.sh"+secret+asNobody)
		if err != nil || strings.Contains(out, "opened") {
			t.Errorf("umask %s: %v: %s", umask, err, out)
		}
		out, err = machine(t, unpacked(t, program), "umask "+umask+"\n/release/install.sh"+secret+spoil+"/release/install.sh\n"+asNobody)
		if err != nil || !strings.Contains(out, "opened /etc/edge-eventer/config.yaml to all users") {
			t.Errorf("umask %s, repaired: %v: %s", umask, err, out)
		}
	}
}
