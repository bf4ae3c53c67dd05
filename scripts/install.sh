#!/bin/sh
# install.sh [--root DIR] [--uninstall]
#
# Installs edge-eventer on a node without Debian's packages, from the folder of an unpacked release in which this file lies:
# the binary and its unit, which is enabled and started. It may be run again, and with a newer release that is the upgrade: the
# configuration, the secrets and the spool stay. --uninstall takes away what was installed, keeps configuration and secrets,
# and asks before it deletes the spool, in which is what was not delivered; without a yes the spool stays. --root works on the
# tree of a system that is not running, and starts and stops nothing. It touches nothing of an installed Debian package.
set -eu
# Not the caller's: the agent runs as a user of its own and must be able to read its configuration.
umask 022

fail() { # CODE WORDS
	code=$1
	shift
	echo "install.sh: $*" >&2
	exit "$code"
}

root='' uninstall=''
while [ $# -gt 0 ]; do
	case $1 in
	--root)
		[ $# -ge 2 ] || fail 2 '--root needs a folder'
		[ -d "$2" ] || fail 2 "--root '$2': there is no such folder"
		# What an empty variable in front of a slash makes of a path is the running system.
		! [ "$2" -ef / ] || fail 2 "--root '$2' is the system that runs: leave --root out"
		root=$(CDPATH='' cd -- "$2" && pwd -P)
		shift
		;;
	--uninstall) uninstall=yes ;;
	-h | --help)
		sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*) fail 2 "unknown argument $1; allowed: --root DIR, --uninstall" ;;
	esac
	shift
done

# A link to this file may lie anywhere.
here=$(dirname "$(readlink -f "$0")")
binary=$root/usr/local/bin/edge-eventer
unit=$root/etc/systemd/system/edge-eventer.service
etc=$root/etc/edge-eventer
completion=$root/usr/local/share/bash-completion/completions/edge-eventer
man=$root/usr/local/share/man/man1/edge-eventer.1
wants=$root/etc/systemd/system/multi-user.target.wants/edge-eventer.service

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail 1 'run it as root: sudo ./install.sh'
running() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
# ours: the unit in /etc is one that this script wrote. dpkg masks the unit of a removed package by a link at the same place.
ours() { [ ! -L "$unit" ] && grep -qs '^ExecStart=/usr/local/bin/edge-eventer ' "$unit"; }
# packaged: the Debian package is installed. One that was removed and not purged has its list of files, and not the files.
packaged() { [ -e "$root/var/lib/dpkg/info/edge-eventer.list" ] && [ -e "$root/usr/bin/edge-eventer" ]; }

if [ -n "$uninstall" ]; then
	if packaged && ! ours; then
		fail 1 'what is installed here is the Debian package: apt-get remove edge-eventer'
	fi
	if ours; then
		if running; then
			systemctl disable --now edge-eventer.service || true
		fi
		rm -f "$wants" "$unit"
		# A package that was removed and not purged takes a missing link for the administrator's wish when it comes back.
		if [ -e "$root/var/lib/dpkg/info/edge-eventer.list" ]; then ln -sfn /lib/systemd/system/edge-eventer.service "$wants"; fi
	fi
	rm -f "$binary" "$completion" "$man"
	if running; then systemctl daemon-reload; fi
	if packaged; then
		# The unit in /etc was in front of the package's.
		if running; then systemctl enable --now edge-eventer.service; fi
		echo 'removed; configuration, secrets and spool go on with the Debian package, which is installed too'
		exit 0
	fi
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

if [ -z "$root" ]; then
	case $(uname -m) in
	armv6*) fail 1 'this is an ARMv6 machine (the first Raspberry Pi, Zero), for which there is no binary' ;;
	esac
fi
for file in edge-eventer edge-eventer.service config.yaml edge-eventer.1 edge-eventer.bash; do
	[ -f "$here/$file" ] || fail 1 "$file is not beside it: run it in the folder of an unpacked release"
done
if packaged; then
	fail 1 'the Debian package is installed; remove it first, its configuration, secrets and spool stay: apt-get remove edge-eventer'
fi
if [ -f "$unit" ] && [ ! -L "$unit" ] && ! ours; then
	fail 1 "$unit is not of this script and does not start /usr/local/bin/edge-eventer; move it away first"
fi
if [ -z "$root" ]; then
	release=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
	[ "${release:-0}" -ge 251 ] || fail 1 "needs systemd 251 or newer, here is ${release:-none}"
fi

# What an earlier version made under a umask that keeps others out is opened for them.
open_to_all() { # FOLDER OR FILE...
	for path; do
		if [ -d "$path" ]; then want=rx mask=055; else want=r mask=044; fi
		if [ -n "$(find "$path" -maxdepth 0 ! -perm "-$mask")" ]; then
			chmod "go+$want" "$path"
			echo "opened $path to all users: the agent could not read it"
		fi
	done
}
# A new file under the old name: a running binary cannot be written to.
put() { # SOURCE TARGET MODE
	mkdir -p "$(dirname "$2")"
	install -m "$3" "$1" "$2.new"
	mv -f "$2.new" "$2"
}
mkdir -p "$(dirname "$binary")"
if [ -z "$root" ]; then
	# The wrong architecture shows here and not in a unit that fails. At its final place, since the folder of the release may lie on
	# a file system from which nothing can be run.
	install -m 755 "$here/edge-eventer" "$binary.new"
	"$binary.new" version || { rm -f "$binary.new"; fail 1 "this binary does not run on this machine ($(uname -m))"; }
fi
put "$here/edge-eventer" "$binary" 755
put "$here/edge-eventer.1" "$man" 644
put "$here/edge-eventer.bash" "$completion" 644
mkdir -p "$(dirname "$unit")"
sed 's|/usr/bin/edge-eventer|/usr/local/bin/edge-eventer|g' "$here/edge-eventer.service" >"$unit.new"
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
open_to_all "$etc" "$etc/config.yaml" "$root/usr/local" "$(dirname "$binary")" "$root/usr/local/share" \
	"$root/usr/local/share/man" "$(dirname "$man")" "$root/usr/local/share/bash-completion" "$(dirname "$completion")"

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
