# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of ferryctl for bash. Commands and options are asked of ferryctl's own
# help: a list here would be one more that can be out of date.

# _ferryctl_offer WORDS...: those that begin with what is typed
_ferryctl_offer()
{
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$word")
}

# _ferryctl_offer_files: likewise
_ferryctl_offer_files()
{
	compopt -o filenames 2> /dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$word")
}

# The ways to a peer; a host or a port follows.
_ferryctl_offer_ways()
{
	compopt -o nospace 2> /dev/null
	_ferryctl_offer tcp: rdma: rdma+tcp:
}

# _ferryctl_valued WORD: it is an option that a value follows
_ferryctl_valued()
{
	[[ $1 == -* && ($help == *"$1 "[A-Z]* || $help == *" $1, --"*) ]]
}

# The value of the option $before; false if it takes none.
_ferryctl_value()
{
	_ferryctl_valued "$before" || return 1
	case $before in
	--max-pinned)
		_ferryctl_offer all
		;;
	--final-bandwidth)
		_ferryctl_offer same
		;;
	--bandwidth)
		[[ $command != host ]] || _ferryctl_offer none
		;;
	--record | --output | -o)
		_ferryctl_offer_files
		;;
	--to)
		_ferryctl_offer_ways
		;;
	esac
	return 0
}

# The options that are not there yet. Those that the help's sentences name may be
# another command's.
_ferryctl_options()
{
	local option options=()

	while read -r option; do
		[[ " ${COMP_WORDS[*]::COMP_CWORD} " == *" $option "* ]] || options+=("$option")
	done < <(grep -oE '(^ +(-[a-z], )?|\[)--[a-z-]+' <<< "$help [--help" |
		grep -oE -e '--.*' | sort -u)
	_ferryctl_offer "${options[@]}"
}

# Counts the arguments of the command that stand before the cursor.
_ferryctl_place()
{
	local i skip=

	place=0
	for ((i = 2; i < COMP_CWORD; i++)); do
		if [[ -n $skip ]]; then
			skip=
		elif [[ ${COMP_WORDS[i]} == -* ]]; then
			_ferryctl_valued "${COMP_WORDS[i]}" && skip=yes
		else
			place=$((place + 1))
		fi
	done
}

_ferryctl_argument()
{
	local place

	_ferryctl_place
	case $command in
	status | watch | stats | set | abort)
		# The sessions that there are, which only root may see.
		((place)) || _ferryctl_offer "$("$program" list 2> /dev/null |
			sed -n 's/^ *\([0-9][0-9]*\) .*/\1/p')"
		;;
	migrate | receive)
		if ((!place)); then
			_ferryctl_offer_files
		elif ((place == 1)); then
			_ferryctl_offer_ways
		fi
		;;
	evacuate)
		_ferryctl_offer_files
		;;
	plot | estimate)
		((place)) || _ferryctl_offer_files
		;;
	esac
}

_ferryctl()
{
	local program=$1 word=$2 before=$3 command=${COMP_WORDS[1]} help

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		help=
		if [[ $word == -* ]]; then
			_ferryctl_offer --json --help --version
		else
			_ferryctl_offer "$("$program" --help 2> /dev/null |
				sed -n 's/^  \([a-z]*\) .*/\1/p')"
		fi
		return
	fi
	[[ $command == -* ]] && command=status
	help=$("$program" "$command" --help 2> /dev/null) || return
	_ferryctl_value && return
	if [[ $word == -* ]]; then
		_ferryctl_options
	else
		_ferryctl_argument
	fi
}

complete -F _ferryctl ferryctl
