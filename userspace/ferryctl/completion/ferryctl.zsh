#compdef ferryctl
# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of ferryctl for zsh; as ferryctl.bash it asks ferryctl's help.

# Is $1 an option that a value follows?
_ferryctl_valued()
{
	[[ $1 == -* ]] && [[ $help == *"$1 "[A-Z]* || $help == *" $1, --"* ]]
}

_ferryctl()
{
	local program=$words[1] command=$words[2] before=$words[CURRENT-1] help place word
	local -a options

	if (( CURRENT == 2 )); then
		if [[ $words[2] == -* ]]; then
			compadd -- --json --help --version
		else
			compadd -- ${(f)"$($program --help 2> /dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')"}
		fi
		return
	fi
	[[ $command == -* ]] && command=status
	help=$($program $command --help 2> /dev/null) || return
	if _ferryctl_valued "$before"; then
		case $before in
		--max-pinned)
			compadd -- all
			;;
		--final-bandwidth)
			compadd -- same
			;;
		--bandwidth)
			[[ $command != host ]] || compadd -- none
			;;
		--record|--output|-o)
			_files
			;;
		--to)
			compadd -S '' -- tcp: rdma: rdma+tcp:
			;;
		esac
		return
	fi
	if [[ $words[CURRENT] == -* ]]; then
		# Those that the help's sentences name may be another command's.
		options=(${(f)"$(grep -oE '(^ +(-[a-z], )?|\[)--[a-z-]+' <<< "$help [--help" |
			grep -oE -e '--.*' | sort -u)"})
		compadd -- ${options:|words}
		return
	fi
	place=0
	before=
	for word in $words[3,CURRENT-1]; do
		if [[ $word != -* ]] && ! _ferryctl_valued "$before"; then
			(( ++place ))
		fi
		before=$word
	done
	case $command-$place in
	(status|watch|stats|set|abort)-0)
		compadd -- ${(f)"$($program list 2> /dev/null | sed -n 's/^ *\([0-9][0-9]*\) .*/\1/p')"}
		;;
	(migrate|receive|plot|estimate)-0|evacuate-*)
		_files
		;;
	(migrate|receive)-1)
		compadd -S '' -- tcp: rdma: rdma+tcp:
		;;
	esac
}

_ferryctl "$@"
