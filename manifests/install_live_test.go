package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machine runs a shell script as root of a machine of its own: a mount namespace whose root is in memory and has the programs of
// this one, nothing in /usr/local, /etc and /var, and a systemctl that only says it was called. /release is the unpacked release.
func machine(t *testing.T, release, script string) (string, error) {
	t.Helper()
	root := t.TempDir()
	const build = `set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir usr etc var tmp run dev proc release fake
for dir in /bin /sbin /lib /lib32 /lib64 /libx32; do
	if [ -L "$dir" ]; then cp -P "$dir" .; elif [ -d "$dir" ]; then mkdir ".$dir"; mount --rbind "$dir" ".$dir"; fi
done
mount --rbind /usr usr
mount -t tmpfs tmpfs usr/local
mount --bind "$2" release
: >dev/null
mount --bind /dev/null dev/null
printf '#!/bin/sh\n[ "$1" != --version ] || echo "systemd 252 (252.1)"\n' >fake/systemctl
chmod 755 fake/systemctl
PATH=/fake:/usr/sbin:/usr/bin:/sbin:/bin exec chroot . /bin/sh -ec "$3"
`
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	out, err := exec.CommandContext(t.Context(), "unshare", append(args, "sh", "-c", build, "sh", root, release, script)...).CombinedOutput()
	return string(out), err
}

// program is what stands in for the agent where it is only asked for its version.
const program = "#!/bin/sh\necho edge-eventer test\n"

func TestInstallNeverTakesTheRunningSystemForATree(t *testing.T) {
	release := unpacked(t, program)
	for _, root := range []string{"''", "/", "//", "/usr/..", "/link", "/nowhere"} {
		for _, more := range []string{"", " --uninstall"} {
			out, err := machine(t, release, `ln -s / /link
mkdir -p /var/lib/private/edge-eventer
echo y | /release/install.sh --root `+root+more+` && exit 9
[ -d /var/lib/private/edge-eventer ] && [ ! -e /usr/local/bin ] && [ ! -e /etc/edge-eventer ]`)
			if err != nil || !strings.Contains(out, "install.sh: --root '") {
				t.Errorf("--root %s%s: %v: %s", root, more, err, out)
			}
		}
	}
}

func TestInstallWorksThroughALinkAndFromAFolderWithoutExecution(t *testing.T) {
	out, err := machine(t, unpacked(t, program), `mkdir /mnt /home
mount -t tmpfs -o noexec tmpfs /mnt
cp /release/* /mnt
ln -s /mnt/install.sh /home/setup
cd /
sh /home/setup
/usr/local/bin/edge-eventer version`)
	if err != nil || strings.Count(out, "edge-eventer test\n") != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestInstallRefusesAMachineThatCannotRunItBeforeItWritesAnything(t *testing.T) {
	for name, c := range map[string]struct{ binary, uname, want string }{
		"another architecture": {"\x7fELF of another machine", "aarch64", `this binary does not run on this machine \(aarch64\)`},
		"ARMv6":                {program, "armv6l", "ARMv6"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := machine(t, unpacked(t, c.binary), `printf '#!/bin/sh\necho `+c.uname+`\n' >/fake/uname
chmod 755 /fake/uname
/release/install.sh && exit 9
find /usr/local /etc -type f | sed 's/^/left: /'`)
			if err != nil || !regexp.MustCompile(c.want).MatchString(out) || strings.Contains(out, "left:") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestFoldersAreOpenUnderAnyUmask holds by the modes what TestAgentsUserReadsWhatWasInstalledUnderAnyUmask tries as root.
func TestFoldersAreOpenUnderAnyUmask(t *testing.T) {
	for _, umask := range []string{"022", "027", "077"} {
		root, release := t.TempDir(), unpacked(t, program)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask $1; exec "$2" --root "$3"`, "sh", umask, filepath.Join(release, "install.sh"), root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, dir := range []string{"etc/edge-eventer", "usr/local", "usr/local/bin", "usr/local/share/man/man1", "etc/systemd/system"} {
			info, err := os.Stat(filepath.Join(root, dir))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o755 {
				t.Errorf("umask %s: %s has mode %v", umask, dir, info.Mode())
			}
		}
	}
}
