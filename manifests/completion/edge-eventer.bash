# bash completion for edge-eventer
_edge_eventer() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' action='' words='' i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--config | --receiver | --log-level | --log-format | -o) ((i++)) ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			elif [ -z "$action" ]; then
				action=${COMP_WORDS[i]}
			fi
			;;
		esac
	done
	case $prev in
	--config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--receiver)
		# The names in the configuration that the command line names, or in the default one.
		local file=/etc/edge-eventer/config.yaml
		for ((i = 1; i < COMP_CWORD - 1; i++)); do
			case ${COMP_WORDS[i]} in --config) file=${COMP_WORDS[i + 1]} ;; esac
		done
		[ -r "$file" ] || return
		words=$(sed -n 's/^ *- *name: *\([a-z0-9][-a-z0-9_.]*\) *\(#.*\)\{0,1\}$/\1/p' "$file")
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
		;;
	--log-level) command=values words='debug info warn error' ;;
	--log-format) command=values words='auto text json' ;;
	-o) command=values words='text json' ;;
	esac
	case $command in
	'') words='run check-config send-test render status spool version help --config --log-level --log-format' ;;
	run) words='--config --log-level --log-format' ;;
	check-config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	send-test) words='--config --receiver' ;;
	render) words='--config --receiver --simple' ;;
	status) words='--config --watch -o' ;;
	spool)
		# The flags follow the second word.
		case $action in
		'') [ "$prev" != spool ] || words='ls show retry drop export' ;;
		drop) words='--config --receiver --yes' ;;
		ls | show | retry | export) words='--config --receiver' ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o filenames -F _edge_eventer edge-eventer
