#!/bin/sh
# install.sh [--root DIR] [--uninstall]
#
# Installs edge-eventer on a node without Debian's packages, from the folder of an unpacked release in which this file lies:
# the binary and its unit, which is enabled and started. It may be run again, and with a newer release that is the upgrade: the
# configuration, the secrets and the spool stay. --uninstall takes away what was installed, keeps configuration and secrets,
# and asks before it deletes the spool, in which is what was not delivered; without a yes the spool stays. --root works on the
# tree of a system that is not running, and starts and stops nothing.
set -eu

root='' uninstall=''
while [ $# -gt 0 ]; do
	case $1 in
	--root)
		[ $# -ge 2 ] || { echo 'install.sh: --root needs a folder' >&2; exit 2; }
		root=${2%/}
		shift
		;;
	--uninstall) uninstall=yes ;;
	-h | --help)
		sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "install.sh: unknown argument $1; allowed: --root DIR, --uninstall" >&2
		exit 2
		;;
	esac
	shift
done

here=$(cd "$(dirname "$0")" && pwd)
binary=$root/usr/local/bin/edge-eventer
unit=$root/etc/systemd/system/edge-eventer.service
etc=$root/etc/edge-eventer
completion=$root/usr/local/share/bash-completion/completions/edge-eventer
man=$root/usr/local/share/man/man1/edge-eventer.1
wants=$root/etc/systemd/system/multi-user.target.wants/edge-eventer.service

[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo 'install.sh: run it as root: sudo ./install.sh' >&2; exit 1; }
running() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

if [ -n "$uninstall" ]; then
	if running; then
		systemctl disable --now edge-eventer.service || true
	fi
	rm -f "$wants" "$unit" "$binary" "$completion" "$man"
	if running; then systemctl daemon-reload; fi
	echo "removed; configuration and secrets are left in $etc"
	# With DynamicUser= the state lies below private/, and the other name is a link to it.
	spool=$root/var/lib/private/edge-eventer
	if [ -d "$spool" ]; then
		printf 'delete the spool %s, and with it what was not delivered? [y/N] ' "$spool"
		answer=''
		read -r answer || echo
		case $answer in
		y | Y | yes)
			rm -rf "$spool" "$root/var/lib/edge-eventer"
			echo 'the spool is deleted'
			;;
		*) echo 'the spool is kept' ;;
		esac
	fi
	exit 0
fi

for file in edge-eventer edge-eventer.service config.yaml edge-eventer.1 edge-eventer.bash; do
	[ -f "$here/$file" ] || { echo "install.sh: $file is not beside it: run it in the folder of an unpacked release" >&2; exit 1; }
done
if [ -e "$root/var/lib/dpkg/info/edge-eventer.list" ] && [ -e "$root/usr/bin/edge-eventer" ]; then
	echo 'install.sh: the Debian package is installed; remove it first: apt-get remove edge-eventer' >&2
	exit 1
fi
if [ -z "$root" ]; then
	# The wrong architecture shows here and not in a unit that fails every ten seconds.
	"$here/edge-eventer" version || { echo 'install.sh: this binary does not run on this machine' >&2; exit 1; }
	release=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
	[ "${release:-0}" -ge 251 ] || { echo "install.sh: needs systemd 251 or newer, here is ${release:-none}" >&2; exit 1; }
fi

# A new file under the old name: a running binary cannot be written to.
put() { # SOURCE TARGET MODE
	mkdir -p "$(dirname "$2")"
	install -m "$3" "$1" "$2.new"
	mv -f "$2.new" "$2"
}
put "$here/edge-eventer" "$binary" 755
put "$here/edge-eventer.1" "$man" 644
put "$here/edge-eventer.bash" "$completion" 644
mkdir -p "$(dirname "$unit")"
sed 's|/usr/bin/edge-eventer|/usr/local/bin/edge-eventer|' "$here/edge-eventer.service" >"$unit.new"
chmod 644 "$unit.new"
mv -f "$unit.new" "$unit"
mkdir -p "$etc"
# install -d leaves what is in a folder alone.
install -d -m 700 "$etc/secrets"
if [ -e "$etc/config.yaml" ]; then
	echo "kept $etc/config.yaml"
else
	put "$here/config.yaml" "$etc/config.yaml" 644
	echo "wrote $etc/config.yaml"
fi

if running; then
	systemctl daemon-reload
	systemctl enable --quiet edge-eventer.service
	systemctl restart edge-eventer.service
	echo 'installed and started: systemctl status edge-eventer'
else
	mkdir -p "$(dirname "$wants")"
	ln -sfn /etc/systemd/system/edge-eventer.service "$wants"
	echo 'installed; it starts with the system'
fi
