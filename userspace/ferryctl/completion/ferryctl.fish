# SPDX-License-Identifier: GPL-2.0-only
#
# Completion of ferryctl for fish; as ferryctl.bash it asks ferryctl's help.

# What is typed already: the program, the command, ...
function __ferryctl_offer
	set -l words (commandline -opc)
	set -l program $words[1]
	set -l word (commandline -ct)

	if test (count $words) = 1
		if string match -q -- '-*' $word
			printf '%s\n' --json --help --version
		else
			$program --help 2>/dev/null | string replace -rf '^  ([a-z]+) .*' '$1'
		end
		return
	end
	set -l command $words[2]
	string match -q -- '-*' $command; and set command status
	set -l help ($program $command --help 2>/dev/null | string collect)
	test -n "$help"; or return
	# The options that are followed by a value.
	set -l valued (string match -ar -- '--[a-z-]+ [A-Z]' $help | string replace -r ' .*' '')
	set -a valued (string match -ar -- ' -[a-z], --' $help | string sub -s 2 -l 2)

	if contains -- $words[-1] $valued
		switch $words[-1]
			case --max-pinned
				echo all
			case --final-bandwidth
				echo same
			case --bandwidth
				test $command != host; or echo none
			case --record --output -o
				__fish_complete_path $word
			case --to
				printf '%s\n' tcp: rdma: rdma+tcp:
		end
		return
	end
	if string match -q -- '-*' $word
		# Those that the help's sentences name may be another command's.
		for option in (string match -ar -- '(?m)(?:^ +(?:-[a-z], )?|\[)\K--[a-z-]+' "$help [--help" | sort -u)
			contains -- $option $words; or echo $option
		end
		return
	end
	set -l place 0
	set -l before
	for one in $words[3..]
		if not string match -q -- '-*' $one; and not contains -- "$before" $valued
			set place (math $place + 1)
		end
		set before $one
	end
	switch $command-$place
		case 'status-0' 'watch-0' 'stats-0' 'set-0' 'abort-0'
			$program list 2>/dev/null | string replace -rf '^ *(\d+) .*' '$1'
		case 'migrate-0' 'receive-0' 'plot-0' 'estimate-0'
			__fish_complete_path $word
		case 'migrate-1' 'receive-1'
			printf '%s\n' tcp: rdma: rdma+tcp:
		case 'evacuate-*'
			__fish_complete_path $word
	end
end

complete -c ferryctl -f -a '(__ferryctl_offer)'
