# bash completion for edge-eventer
_edge_eventer() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		-*) ;;
		run | check-config | send-test | render | status | spool | version | help)
			command=$word
			break
			;;
		esac
	done
	case $prev in
	--config | -config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--receiver | -receiver)
		# The names in the configuration that the command line names, or in the default one.
		local file=/etc/edge-eventer/config.yaml i
		for ((i = 1; i < COMP_CWORD - 1; i++)); do
			case ${COMP_WORDS[i]} in --config | -config) file=${COMP_WORDS[i + 1]} ;; esac
		done
		[ -r "$file" ] || return
		mapfile -t COMPREPLY < <(compgen -W "$(sed -n 's/^ *- *name: *\([a-z0-9][-a-z0-9_.]*\) *\(#.*\)\{0,1\}$/\1/p' "$file")" -- "$cur")
		return
		;;
	esac
	local words=''
	case $command in
	'') words='run check-config send-test render status spool version help --config' ;;
	run) words='--config --log-level --log-format' ;;
	status) words='--config --watch -o' ;;
	send-test | render) words='--config --receiver' ;;
	spool) words='ls show retry drop export --config --receiver --yes' ;;
	check-config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o filenames -F _edge_eventer edge-eventer
